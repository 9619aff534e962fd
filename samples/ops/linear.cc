#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

template <Tensor (*op)(const Tensor& x, const Tensor& weight, const Tensor& bias)>
std::vector<OpSample> linear_samples() {
  std::vector<OpSample> samples;
  for (const Shape& x : {Shape{3, 4}, Shape{4}, Shape{2, 3, 4}})
    samples.push_back({str(x) + " to 5",
                       {sample(x, 1), sample({5, 4}, 2), sample({5}, 3)},
                       [](std::span<const Tensor> in) { return op(in[0], in[1], in[2]); }});
  samples.push_back({"(3, 4) to 2 without a bias",
                     {sample({3, 4}, 1), sample({2, 4}, 2)},
                     [](std::span<const Tensor> in) { return op(in[0], in[1], {}); }});
  return samples;
}

}  // namespace

static OpSamples linear_row("linear", linear_samples<linear>);

static OpSamples linear_relu_row("linear_relu", linear_samples<linear_relu>);

}  // namespace gradus
