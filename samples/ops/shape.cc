#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

/// One sample: f of one tensor of the given shape.
template <class F>
OpSample shape_sample(std::string label, const Shape& shape, F f) {
  return {std::move(label), {sample(shape, 1)}, [f](std::span<const Tensor> x) { return f(x[0]); }};
}

}  // namespace

static OpSamples reshape_row("reshape", [] {
  return std::vector{shape_sample("(3, 4) to (2, 6)", {3, 4},
                                  [](const Tensor& x) {
                                    return reshape(x, {2, -1});
                                  }),
                     shape_sample("of a transpose", {3, 5},
                                  [](const Tensor& x) { return reshape(transpose(x), {15}); })};
});

static OpSamples permute_row("permute", [] {
  return std::vector{shape_sample("(2, 3, 4) by 2 0 1", {2, 3, 4}, [](const Tensor& x) {
    return permute(x, {2, 0, 1});
  })};
});

static OpSamples expand_row("expand", [] {
  return std::vector{shape_sample("(3, 1) to (2, 3, 4)", {3, 1}, [](const Tensor& x) {
    return expand(x, {2, 3, 4});
  })};
});

static OpSamples slice_row("slice", [] {
  return std::vector{
      shape_sample("(4, 5)[:, 1:4]", {4, 5}, [](const Tensor& x) { return slice(x, 1, 1, 4); }),
      shape_sample("(7,)[1:-1:2]", {7}, [](const Tensor& x) { return slice(x, 0, 1, -1, 2); }),
      shape_sample("(3, 4, 2)[:, -1]", {3, 4, 2},
                   [](const Tensor& x) { return select(x, 1, -1); })};
});

static OpSamples unslice_row("unslice", [] {
  return std::vector{shape_sample("into (4, 7)", {4, 3}, [](const Tensor& dy) {
    return vjp([](const Tensor& x) { return slice(x, 1, 1, 7, 2); }, zeros({4, 7}, DType::f64), dy);
  })};
});

static OpSamples unbind_row("unbind", [] {
  return std::vector{shape_sample("(3, 4, 2), two of four", {3, 4, 2}, [](const Tensor& x) {
    const TensorList parts = unbind(x, 1);
    return concat({parts[2], parts[0]}, 1);
  })};
});

static OpSamples split_row("split", [] {
  return std::vector{shape_sample("(3, 5), two of three parts", {3, 5},
                                  [](const Tensor& x) {
                                    const TensorList parts = split(x, {2, 1, 2}, 1);
                                    return concat({parts[2], parts[0]}, 1);
                                  }),
                     shape_sample("chunk (5, 2) by 2", {5, 2}, [](const Tensor& x) {
                       const TensorList parts = chunk(x, 2);
                       return concat({parts.back(), parts[0]});
                     })};
});

static OpSamples concat_row("concat", [] {
  return std::vector{OpSample{"(2, 3) and (2, 4)",
                              {sample({2, 3}, 1), sample({2, 4}, 2)},
                              [](std::span<const Tensor> x) { return concat(x, 1); }},
                     OpSample{"stack",
                              {sample({2, 3}, 1), sample({2, 3}, 2), sample({2, 3}, 3)},
                              [](std::span<const Tensor> x) { return stack(x, -1); }}};
});

}  // namespace gradus
