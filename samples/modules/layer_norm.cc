#include <gradus/autograd/ops/compare.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/layer_norm.h>

namespace gradus {

static ModuleSamples layer_norm_row("LayerNorm", [] {
  return std::vector{module_sample("(4, 5)", LayerNorm(5), sample({4, 5}, 1)),
                     module_sample("(4, 5) relu", LayerNorm(5, {.activation = Activation::relu}),
                                   sample({4, 5}, 1)),
                     module_sample("over two axes, without bias",
                                   LayerNorm(Shape{3, 4}, {.bias = false}), sample({2, 3, 4}, 1)),
                     module_sample("masked", LayerNorm(5), {sample({2, 3, 5}, 1)},
                                   [](LayerNorm& norm, std::span<const Tensor> x) {
                                     return norm.forward(x[0], less(sample({2, 3}, 9), 0.9));
                                   })};
});

}  // namespace gradus
