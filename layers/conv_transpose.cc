#include <gradus/layers/conv_transpose.h>

namespace gradus {

ConvTranspose2d::ConvTranspose2d(int64_t in_channels, int64_t out_channels, Pair kernel,
                                 ConvTranspose2dLayerOptions options)
    : ConvModule("ConvTranspose2d",
                 {in_channels, out_channels, options.groups, {kernel.h, kernel.w}, options.bias},
                 true),
      options_(options) {}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return conv_transpose2d(x, weight, bias,
                          {.stride = options_.stride,
                           .padding = options_.padding,
                           .output_padding = options_.output_padding,
                           .dilation = options_.dilation,
                           .groups = options_.groups});
}

std::string ConvTranspose2d::describe() const {
  return listing("ConvTranspose2d", weight.size(0), weight.size(1) * options_.groups,
                 options_.stride, options_.padding);
}

ConvTranspose1d::ConvTranspose1d(int64_t in_channels, int64_t out_channels, int64_t kernel,
                                 ConvTranspose1dLayerOptions options)
    : ConvModule("ConvTranspose1d",
                 {in_channels, out_channels, options.groups, {kernel}, options.bias}, true),
      options_(options) {}

Tensor ConvTranspose1d::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return conv_transpose1d(x, weight, bias,
                          {.stride = options_.stride,
                           .padding = options_.padding,
                           .output_padding = options_.output_padding,
                           .dilation = options_.dilation,
                           .groups = options_.groups});
}

std::string ConvTranspose1d::describe() const {
  return listing("ConvTranspose1d", weight.size(0), weight.size(1) * options_.groups,
                 options_.stride, options_.padding);
}

}  // namespace gradus
