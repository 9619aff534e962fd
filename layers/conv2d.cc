#include <gradus/layers/conv2d.h>

namespace gradus {

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, Pair kernel, Conv2dLayerOptions options)
    : ConvModule("Conv2d",
                 {in_channels, out_channels, options.groups, {kernel.h, kernel.w}, options.bias},
                 false, options.kaiming),
      options_(options) {}

Tensor Conv2d::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return conv2d(x, weight, bias,
                {.stride = options_.stride,
                 .padding = options_.padding,
                 .dilation = options_.dilation,
                 .groups = options_.groups,
                 .algorithm = options_.algorithm});
}

std::string Conv2d::describe() const {
  return listing("Conv2d", weight.size(1) * options_.groups, weight.size(0), options_.stride,
                 options_.padding);
}

Conv1d::Conv1d(int64_t in_channels, int64_t out_channels, int64_t kernel,
               Conv1dLayerOptions options)
    : ConvModule("Conv1d", {in_channels, out_channels, options.groups, {kernel}, options.bias},
                 false, options.kaiming),
      options_(options) {}

Tensor Conv1d::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return conv1d(x, weight, bias,
                {.stride = options_.stride,
                 .padding = options_.padding,
                 .dilation = options_.dilation,
                 .groups = options_.groups});
}

std::string Conv1d::describe() const {
  return listing("Conv1d", weight.size(1) * options_.groups, weight.size(0), options_.stride,
                 options_.padding);
}

}  // namespace gradus
