#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> conv2d_samples() {
  const auto run = [](Conv2dOptions options) {
    return [=](std::span<const Tensor> x) {
      return conv2d(x[0], x[1], x.size() > 2 ? x[2] : Tensor(), options);
    };
  };
  return {{"3x2 with bias, padded",
           {sample({3, 2, 4, 5}, 1), sample({3, 2, 3, 2}, 2), sample({3}, 3)},
           run({.padding = {1, 0}})},
          {"strided, dilated",
           {sample({3, 2, 7, 6}, 1), sample({2, 2, 2, 3}, 2)},
           run({.stride = {2, 1}, .padding = {1, 2}, .dilation = {2, 2}})},
          {"two groups",
           {sample({3, 4, 3, 4}, 1), sample({6, 2, 2, 2}, 2), sample({6}, 3)},
           run({.groups = 2})},
          {"1x1", {sample({3, 4, 2, 3}, 1), sample({5, 4, 1, 1}, 2)}, run({})}};
}

Tensor strided_conv2d(const Tensor& x, const Tensor& w) {
  return conv2d(x, w, {}, {.stride = {2, 1}, .padding = {1, 1}, .groups = 2});
}

}  // namespace

static OpSamples conv2d_row("conv2d", conv2d_samples);

// The gradients with respect to the input and the weight, functions of dy and of the other.

static OpSamples conv2d_input_row("conv2d_input", [] {
  return std::vector{OpSample{"strided, two groups",
                              {sample({3, 4, 3, 5}, 1), sample({4, 1, 3, 2}, 2)},
                              [](std::span<const Tensor> in) {
                                return vjp(
                                    [&](const Tensor& x) { return strided_conv2d(x, in[1]); },
                                    zeros({3, 2, 5, 4}, DType::f64), in[0]);
                              }}};
});

static OpSamples conv2d_weight_row("conv2d_weight", [] {
  return std::vector{OpSample{"strided, two groups",
                              {sample({3, 2, 5, 4}, 1), sample({3, 4, 3, 5}, 2)},
                              [](std::span<const Tensor> in) {
                                return vjp(
                                    [&](const Tensor& w) { return strided_conv2d(in[0], w); },
                                    zeros({4, 1, 3, 2}, DType::f64), in[1]);
                              }}};
});

}  // namespace gradus
