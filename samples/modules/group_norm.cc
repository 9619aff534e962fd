#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/group_norm.h>

namespace gradus {

static ModuleSamples group_norm_row("GroupNorm", [] {
  return std::vector{
      module_sample("(3, 4, 2, 3)", GroupNorm(2, 4), sample({3, 4, 2, 3}, 1)),
      module_sample("one group, relu", GroupNorm(1, 3, {.activation = Activation::relu}),
                    sample({4, 3, 2}, 1)),
      module_sample("masked", GroupNorm(2, 6), {sample({5, 6}, 1)},
                    [](GroupNorm& norm, std::span<const Tensor> x) {
                      return norm.forward(x[0], less(sample({5}, 9), 0.9));
                    })};
});

static ModuleSamples instance_norm_row("InstanceNorm", [] {
  return std::vector{
      module_sample("(3, 2, 4)", InstanceNorm(2), sample({3, 2, 4}, 1)),
      module_sample("affine", InstanceNorm(2, {.affine = true}), sample({3, 2, 2, 3}, 1))};
});

}  // namespace gradus
