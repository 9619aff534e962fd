#include <gradus/autograd/ops/shape.h>
#include <gradus/models/mlp.h>

namespace gradus {

Mlp::Mlp(int64_t inputs, int64_t outputs, MlpOptions options)
    : normalized_(options.norm.kind != Norm::none),
      head_(options.hidden.empty() ? inputs : options.hidden.back(), outputs) {
  for (int64_t width : options.hidden) {
    layers_.emplace_back(
        inputs, width,
        LinearOptions{.activation = normalized_ ? Activation::none : Activation::relu});
    norms_.push_back(
        feature_norm(options.norm, width, normalized_ ? Activation::relu : Activation::none));
    inputs = width;
  }
}

Tensor Mlp::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  Tensor h = x.ndim() > 2 ? flatten(x, 1) : x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    h = layers_[i].forward(h);
    if (normalized_) h = norms_[i](h);
  }
  return head_.forward(h);
}

void Mlp::visit(Visitor& visitor) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.module(fmt::format("layers.{}", i), layers_[i]);
    visitor.module(fmt::format("norms.{}", i), *norms_[i]);
  }
  visitor.module("head", head_);
}

std::string Mlp::describe() const { return "Mlp"; }

}  // namespace gradus
