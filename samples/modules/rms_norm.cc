#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/rms_norm.h>

namespace gradus {

static ModuleSamples rms_norm_row("RmsNorm", [] {
  return std::vector{
      module_sample("(4, 5)", RmsNorm(5), sample({4, 5}, 1)),
      module_sample("over two axes", RmsNorm(Shape{3, 4}, {.eps = 0.1, .affine = false}),
                    sample({2, 3, 4}, 1)),
      module_sample("masked", RmsNorm(5), {sample({2, 3, 5}, 1)},
                    [](RmsNorm& norm, std::span<const Tensor> x) {
                      return norm.forward(x[0], less(sample({2, 3}, 9), 0.9));
                    })};
});

}  // namespace gradus
