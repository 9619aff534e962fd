#include <gradus/autograd/ops/linear.h>
#include <gradus/layers/linear.h>

namespace gradus {

Linear::Linear(int64_t in_features, int64_t out_features, LinearOptions options)
    : zero_bias_(options.zero_bias), relu_(options.relu) {
  check(in_features > 0 && out_features > 0, "Linear: {} to {} features", in_features,
        out_features);
  weight = Parameter(empty({out_features, in_features}));
  if (options.bias) bias = Parameter(empty({out_features}));
  finish_construction();
}

Tensor Linear::forward(const Tensor& x) {
  const ErrorContext where(name());
  return relu_ ? linear_relu(x, weight, bias) : linear(x, weight, bias);
}

void Linear::visit(Visitor& visitor) {
  const Init init = Init::fan_in_uniform(weight.size(1));
  visitor.parameter("weight", weight, init);
  visitor.parameter("bias", bias, zero_bias_ ? Init::zeros() : init);
}

std::string Linear::describe() const {
  return fmt::format("Linear({}, {}{}{})", weight.size(1), weight.size(0), bias ? "" : ", no bias",
                     relu_ ? ", relu" : "");
}

}  // namespace gradus
