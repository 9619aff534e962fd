#include <gradus/autograd/ops/compare.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>

namespace gradus {

static ModuleSamples batch_norm_row("BatchNorm", [] {
  const auto in_evaluation = [](BatchNormLayerOptions options) {
    BatchNorm norm(3, options);
    norm.eval();
    return norm;
  };
  return std::vector{
      module_sample("(5, 3)", BatchNorm(3), sample({5, 3}, 1)),
      module_sample("(3, 2, 2, 4)", BatchNorm(2), sample({3, 2, 2, 4}, 1)),
      module_sample("(5, 3, 2) relu", BatchNorm(3, {.activation = Activation::relu}),
                    sample({5, 3, 2}, 1)),
      module_sample("(5, 3, 2) in groups of 2", BatchNorm(3, {.ghost_size = 2}),
                    sample({5, 3, 2}, 1)),
      module_sample("(6, 2, 2) channels last, in groups of 2, masked",
                    BatchNorm(2, {.channels_last = true, .ghost_size = 2}), {sample({6, 2, 2}, 1)},
                    [](BatchNorm& norm, std::span<const Tensor> x) {
                      return norm.forward(x[0], less(sample({6, 2}, 9), 0.9));
                    }),
      module_sample("in evaluation", in_evaluation({}), sample({4, 3, 2}, 1)),
      module_sample("in evaluation, relu", in_evaluation({.activation = Activation::relu}),
                    sample({4, 3, 2}, 1)),
      module_sample("channels last, masked", BatchNorm(2, {.channels_last = true}),
                    {sample({3, 4, 2}, 1)}, [](BatchNorm& norm, std::span<const Tensor> x) {
                      return norm.forward(x[0], less(sample({3, 4}, 9), 0.9));
                    })};
});

}  // namespace gradus
