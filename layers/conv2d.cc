#include <gradus/layers/conv2d.h>

namespace gradus {

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel,
               Conv2dLayerOptions options)
    : options_(options) {
  check(in_channels > 0 && out_channels > 0 && kernel > 0,
        "Conv2d: {} to {} channels with a kernel of {}", in_channels, out_channels, kernel);
  check(
      options.groups > 0 && in_channels % options.groups == 0 && out_channels % options.groups == 0,
      "Conv2d: {} to {} channels do not divide into {} groups", in_channels, out_channels,
      options.groups);
  const Shape shape{out_channels, in_channels / options.groups, kernel, kernel};
  const int64_t fan_in = shape.numel() / out_channels;
  const Init init = Init::fan_in_uniform(fan_in);
  weight = Parameter(shape, options.kaiming ? Init::kaiming_uniform(fan_in) : init);
  if (options.bias) bias = Parameter({out_channels}, init);
}

Tensor Conv2d::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return conv2d(x, weight, bias,
                {.stride = {options_.stride, options_.stride},
                 .padding = {options_.padding, options_.padding},
                 .dilation = {options_.dilation, options_.dilation},
                 .groups = options_.groups,
                 .algorithm = options_.algorithm});
}

void Conv2d::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
}

std::string Conv2d::describe() const {
  return fmt::format("Conv2d({}, {}, kernel {}, stride {}, padding {}{})",
                     weight.size(1) * options_.groups, weight.size(0), weight.size(2),
                     options_.stride, options_.padding, bias ? "" : ", no bias");
}

}  // namespace gradus
