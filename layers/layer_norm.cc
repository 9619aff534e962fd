#include <gradus/autograd/ops/norm.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/layer_norm.h>

namespace gradus {

LayerNorm::LayerNorm(const Shape& normalized_shape, LayerNormLayerOptions options)
    : normalized_shape_(normalized_shape), options_(options) {
  check(normalized_shape.ndim() > 0 && normalized_shape.numel() > 0,
        "LayerNorm: the normalized shape is {}", normalized_shape);
  if (options.affine) weight = Parameter(normalized_shape, Init::ones());
  if (options.affine && options.bias) bias = Parameter(normalized_shape, Init::zeros());
}

Tensor LayerNorm::forward(const Tensor& x, const Tensor& valid) {
  const ForwardScope scope(*this);
  return layer_norm(x, normalized_shape_, weight, bias,
                    {.eps = options_.eps, .valid = valid, .activation = options_.activation});
}

void LayerNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
}

std::string LayerNorm::describe() const {
  return fmt::format("LayerNorm({}{})", normalized_shape_, suffix(options_.activation));
}

}  // namespace gradus
