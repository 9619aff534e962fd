#include <gradus/autograd/ops/linear.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/linear.h>

namespace gradus {

Linear::Linear(int64_t in_features, int64_t out_features, LinearOptions options)
    : options_(options) {
  check(in_features > 0 && out_features > 0, "Linear: {} to {} features", in_features,
        out_features);
  weight = Parameter(empty({out_features, in_features}));
  if (options.bias) bias = Parameter(empty({out_features}));
  finish_construction();
}

Tensor Linear::forward(const Tensor& x) {
  const ErrorContext where(name());
  return linear(x, weight, bias, options_.activation);
}

void Linear::visit(Visitor& visitor) {
  const Init init = Init::fan_in_uniform(weight.size(1));
  visitor.parameter("weight", weight, init);
  visitor.parameter("bias", bias, options_.zero_bias ? Init::zeros() : init);
}

std::string Linear::describe() const {
  return fmt::format("Linear({}, {}{}{})", weight.size(1), weight.size(0), bias ? "" : ", no bias",
                     suffix(options_.activation));
}

}  // namespace gradus
