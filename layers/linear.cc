#include <gradus/autograd/ops/linear.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/linear.h>

namespace gradus {

Linear::Linear(int64_t in_features, int64_t out_features, LinearOptions options)
    : options_(options) {
  check(in_features > 0 && out_features > 0, "Linear: {} to {} features", in_features,
        out_features);
  const Init init = Init::fan_in_uniform(in_features);
  weight = Parameter({out_features, in_features}, init);
  if (options.bias) bias = Parameter({out_features}, options.zero_bias ? Init::zeros() : init);
}

Tensor Linear::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  if (rows_alone_ && x.ndim() != 2) [[unlikely]]
    fail(
        "Linear: x {} is not (N, {}), as a BatchNorm of axis 1 is part of this layer; fuse one "
        "with its channels last",
        x.shape(), weight.size(1));
  return linear(x, weight, bias, options_.activation);
}

void Linear::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
}

std::string Linear::describe() const {
  return fmt::format("Linear({}, {}{}{})", weight.size(1), weight.size(0), bias ? "" : ", no bias",
                     suffix(options_.activation));
}

}  // namespace gradus
