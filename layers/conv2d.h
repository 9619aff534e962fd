#pragma once
#include <gradus/layers/conv_module.h>

namespace gradus {

/// As Conv2dOptions; a number stands for height and width.
struct Conv2dLayerOptions {
  Pair stride = 1;      ///< pixels from a window to the next
  Padding padding = 0;  ///< zeros around the image, on each side, or Padding::same()
  Pair dilation = 1;    ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;   ///< group g of the outputs sees group g of the inputs alone
  bool bias = true;     ///< whether there is one
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;  ///< as in Conv2dOptions
  bool kaiming = false;  ///< weights from Init::kaiming_uniform for a relu, not PyTorch's default
};

/// 2-D convolution (cross-correlation).  x: (N, in, H, W), or (in, H, W)
/// weight: (out, in / groups, KH, KW)   bias: (out)
/// y: (N, out, H', W'), H' = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1
class Conv2d : public ConvModule {
 public:
  /// A kernel of K x K, or {KH, KW}. An error unless `groups` divides both numbers of channels.
  Conv2d(int64_t in_channels, int64_t out_channels, Pair kernel, Conv2dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  std::string describe() const override;

 private:
  Conv2dLayerOptions options_;
};

/// As Conv1dOptions.
struct Conv1dLayerOptions {
  int64_t stride = 1;    ///< steps from a window to the next
  Padding padding = 0;   ///< zeros at each end, or Padding::same()
  int64_t dilation = 1;  ///< steps from a tap of the kernel to the next
  int64_t groups = 1;    ///< group g of the outputs sees group g of the inputs alone
  bool bias = true;      ///< whether there is one
  bool kaiming = false;  ///< weights from Init::kaiming_uniform for a relu, not PyTorch's default
};

/// Convolution along one axis.  x: (N, in, L), or (in, L)   weight: (out, in / groups, K)
/// bias: (out)   y: (N, out, L'), L' = (L + 2 padding - dilation (K - 1) - 1) / stride + 1
class Conv1d : public ConvModule {
 public:
  /// A kernel of K steps. An error unless `groups` divides both numbers of channels.
  Conv1d(int64_t in_channels, int64_t out_channels, int64_t kernel,
         Conv1dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  std::string describe() const override;

 private:
  Conv1dLayerOptions options_;
};

}  // namespace gradus
