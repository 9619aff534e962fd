#include <gradus/autograd/ops/linear.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> linear_samples() {
  std::vector<OpSample> samples;
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const char* fused = activation == Activation::relu ? ", relu" : "";
    for (const Shape& x : {Shape{3, 4}, Shape{4}, Shape{2, 3, 4}})
      samples.push_back(
          {str(x) + " to 5" + fused,
           {sample(x, 1), sample({5, 4}, 2), sample({5}, 3)},
           [=](std::span<const Tensor> in) { return linear(in[0], in[1], in[2], activation); }});
    samples.push_back(
        {std::string("(3, 4) to 2 without a bias") + fused,
         {sample({3, 4}, 1), sample({2, 4}, 2)},
         [=](std::span<const Tensor> in) { return linear(in[0], in[1], {}, activation); }});
  }
  return samples;
}

}  // namespace

static OpSamples linear_row("linear", linear_samples);

}  // namespace gradus
