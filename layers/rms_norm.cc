#include <gradus/autograd/ops/norm.h>
#include <gradus/layers/rms_norm.h>

namespace gradus {

RmsNorm::RmsNorm(const Shape& normalized_shape, RmsNormLayerOptions options)
    : normalized_shape_(normalized_shape), options_(options) {
  check(normalized_shape.ndim() > 0 && normalized_shape.numel() > 0,
        "RmsNorm: the normalized shape is {}", normalized_shape);
  if (options.affine) weight = Parameter(normalized_shape, Init::ones());
}

Tensor RmsNorm::forward(const Tensor& x, const Tensor& valid) {
  const ForwardScope scope(*this);
  return rms_norm(x, normalized_shape_, weight, {.eps = options_.eps, .valid = valid});
}

void RmsNorm::visit(Visitor& visitor) { visitor.parameter("weight", weight); }
std::string RmsNorm::describe() const { return fmt::format("RmsNorm({})", normalized_shape_); }

}  // namespace gradus
