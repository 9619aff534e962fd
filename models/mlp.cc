#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/gradcheck.h>
#include <gradus/models/mlp.h>

namespace gradus {

Mlp::Mlp(int64_t inputs, int64_t outputs, MlpOptions options)
    : normalized_(options.norm != Norm::none),
      head_(options.hidden.empty() ? inputs : options.hidden.back(), outputs) {
  for (int64_t width : options.hidden) {
    layers_.emplace_back(inputs, width, LinearOptions{.relu = !normalized_});
    norms_.push_back(feature_norm(options.norm, width, false, normalized_));
    inputs = width;
  }
  finish_construction();
}

Tensor Mlp::forward(const Tensor& x) {
  const ErrorContext where(name());
  Tensor h = x.ndim() > 2 ? flatten(x, 1) : x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    h = layers_[i](h);
    if (normalized_) h = norms_[i](h);
  }
  return head_(h);
}

void Mlp::visit(Visitor& visitor) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    visitor.module(fmt::format("layers.{}", i), layers_[i]);
    visitor.module(fmt::format("norms.{}", i), *norms_[i]);
  }
  visitor.module("head", head_);
}

std::string Mlp::describe() const { return "Mlp"; }

static ModuleRow mlp_row("Mlp", [] {
  std::vector<ModuleSample> samples;
  for (Norm norm : {Norm::none, Norm::batch, Norm::layer})
    samples.push_back(
        module_sample(name(norm), Mlp(4, 3, {.hidden = {5}, .norm = norm}), sample({4, 4}, 1)));
  return samples;
});

}  // namespace gradus
