#include <gradus/autograd/ops/norm.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/group_norm.h>

namespace gradus {

GroupNorm::GroupNorm(int64_t groups, int64_t channels, GroupNormLayerOptions options)
    : groups_(groups), channels_(channels), options_(options) {
  check(groups > 0 && channels > 0 && channels % groups == 0,
        "GroupNorm: {} groups of {} channels, which they have to divide", groups, channels);
  if (!options.affine) return;
  weight = Parameter({channels}, Init::ones());
  bias = Parameter({channels}, Init::zeros());
}

Tensor GroupNorm::forward(const Tensor& x, const Tensor& valid) {
  const ForwardScope scope(*this);
  check(x.ndim() >= 2 && x.size(1) == channels_,
        "GroupNorm: x {} does not have {} channels in axis 1", x.shape(), channels_);
  return group_norm(x, groups_, weight, bias,
                    {.eps = options_.eps, .valid = valid, .activation = options_.activation});
}

void GroupNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
}

std::string GroupNorm::describe() const {
  return fmt::format("GroupNorm({}, {}{})", groups_, channels_, suffix(options_.activation));
}

InstanceNorm::InstanceNorm(int64_t channels, InstanceNormLayerOptions options)
    : GroupNorm(channels, channels, {options.eps, options.affine, options.activation}) {}

std::string InstanceNorm::describe() const {
  const std::string group_norm = GroupNorm::describe();
  return "InstanceNorm(" + group_norm.substr(group_norm.find(", ") + 2);
}

}  // namespace gradus
