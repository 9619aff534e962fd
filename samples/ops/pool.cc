#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

template <class F>
OpSample pool_sample(std::string label, const Shape& shape, F f) {
  return {std::move(label), {sample(shape, 1)}, [f](std::span<const Tensor> x) { return f(x[0]); }};
}

Tensor overlapping_max(const Tensor& x) { return max_pool2d(x, {2, 2}, {.stride = Pair{1, 1}}); }
Tensor padded_average(const Tensor& x) {
  return avg_pool2d(x, {3, 2},
                    {.stride = Pair{2, 2}, .padding = {1, 1}, .count_include_pad = false});
}
Tensor adaptive(const Tensor& x) { return adaptive_avg_pool2d(x, {2, 3}); }

/// Where the maxima are, which the linear maps near x take as given.
Tensor maxima_of() { return sample({3, 1, 3, 3}, 3).set_requires_grad(false); }

}  // namespace

static OpSamples max_pool2d_row("max_pool2d", [] {
  return std::vector{pool_sample("2x2", {3, 2, 4, 6},
                                 [](const Tensor& x) {
                                   return max_pool2d(x, {2, 2});
                                 }),
                     pool_sample("3x2, overlapping, padded", {3, 2, 5, 4}, [](const Tensor& x) {
                       return max_pool2d(x, {3, 2}, {.stride = Pair{2, 1}, .padding = {1, 1}});
                     })};
});

static OpSamples pool_gather_row("pool_gather", [] {
  return std::vector{pool_sample("(3, 1, 3, 3)", {3, 1, 3, 3}, [](const Tensor& v) {
    return jvp(overlapping_max, maxima_of(), v);
  })};
});

static OpSamples pool_scatter_row("pool_scatter", [] {
  return std::vector{pool_sample("(3, 1, 2, 2)", {3, 1, 2, 2}, [](const Tensor& dy) {
    return vjp(overlapping_max, maxima_of(), dy);
  })};
});

static OpSamples avg_pool2d_row("avg_pool2d", [] {
  return std::vector{pool_sample("2x3", {3, 2, 4, 6},
                                 [](const Tensor& x) {
                                   return avg_pool2d(x, {2, 3});
                                 }),
                     pool_sample("padded, not counted", {3, 2, 4, 5}, padded_average)};
});

static OpSamples avg_pool2d_backward_row("avg_pool2d_backward", [] {
  return std::vector{pool_sample("padded, not counted", {3, 2, 2, 3}, [](const Tensor& dy) {
    return vjp(padded_average, zeros({3, 2, 4, 5}, DType::f64), dy);
  })};
});

static OpSamples adaptive_avg_pool2d_row("adaptive_avg_pool2d", [] {
  return std::vector{pool_sample("(5, 4) to (2, 3)", {3, 2, 5, 4}, adaptive)};
});

static OpSamples adaptive_avg_pool2d_backward_row("adaptive_avg_pool2d_backward", [] {
  return std::vector{pool_sample("(2, 3) to (5, 4)", {3, 2, 2, 3}, [](const Tensor& dy) {
    return vjp(adaptive, zeros({3, 2, 5, 4}, DType::f64), dy);
  })};
});

}  // namespace gradus
