#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/gradcheck.h>
#include <gradus/layers/layer_norm.h>

namespace gradus {

LayerNorm::LayerNorm(const Shape& normalized_shape, LayerNormOptions options)
    : normalized_shape_(normalized_shape), options_(options) {
  check(normalized_shape.ndim() > 0 && normalized_shape.numel() > 0,
        "LayerNorm: the normalized shape is {}", normalized_shape);
  if (options.affine) weight = Parameter(empty(normalized_shape));
  if (options.affine && options.bias) bias = Parameter(empty(normalized_shape));
  finish_construction();
}

Tensor LayerNorm::forward(const Tensor& x, const Tensor& valid) {
  const ErrorContext where(name());
  const Tensor y = layer_norm(x, normalized_shape_, weight, bias, options_.eps, valid);
  return options_.relu ? relu(y) : y;
}

void LayerNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", weight, Init::ones());
  visitor.parameter("bias", bias, Init::zeros());
}

std::string LayerNorm::describe() const {
  return fmt::format("LayerNorm({}{})", normalized_shape_, options_.relu ? ", relu" : "");
}

static ModuleRow layer_norm_row("LayerNorm", [] {
  return std::vector{module_sample("(4, 5)", LayerNorm(5), sample({4, 5}, 1)),
                     module_sample("(4, 5) relu", LayerNorm(5, {.relu = true}), sample({4, 5}, 1)),
                     module_sample("over two axes, without bias",
                                   LayerNorm(Shape{3, 4}, {.bias = false}), sample({2, 3, 4}, 1)),
                     module_sample("masked", LayerNorm(5), {sample({2, 3, 5}, 1)},
                                   [](LayerNorm& norm, std::span<const Tensor> x) {
                                     return norm.forward(x[0], less(sample({2, 3}, 9), 0.9));
                                   })};
});

}  // namespace gradus
