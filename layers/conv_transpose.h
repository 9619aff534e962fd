#pragma once
#include <gradus/layers/conv_module.h>

namespace gradus {

/// As ConvTranspose2dOptions; a number stands for height and width.
struct ConvTranspose2dLayerOptions {
  Pair stride = 1;          ///< pixels from a window to the next
  Pair padding = 0;         ///< what is cut off on each side
  Pair output_padding = 0;  ///< rows and columns more at the end
  Pair dilation = 1;        ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;       ///< group g of the outputs sees group g of the inputs alone
  bool bias = true;         ///< whether there is one
};

/// Transposed 2-D convolution (conv_transpose2d).  x: (N, in, H, W), or (in, H, W)
/// weight: (in, out / groups, KH, KW)   bias: (out)   y: (N, out, H', W'),
/// H' = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1
class ConvTranspose2d : public ConvModule {
 public:
  /// A kernel of K x K, or {KH, KW}. An error unless `groups` divides both numbers of channels.
  ConvTranspose2d(int64_t in_channels, int64_t out_channels, Pair kernel,
                  ConvTranspose2dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  std::string describe() const override;

 private:
  ConvTranspose2dLayerOptions options_;
};

/// As ConvTranspose1dOptions.
struct ConvTranspose1dLayerOptions {
  int64_t stride = 1;          ///< steps from a window to the next
  int64_t padding = 0;         ///< what is cut off at each end
  int64_t output_padding = 0;  ///< steps more at the end
  int64_t dilation = 1;        ///< steps from a tap of the kernel to the next
  int64_t groups = 1;          ///< group g of the outputs sees group g of the inputs alone
  bool bias = true;            ///< whether there is one
};

/// Transposed convolution along one axis.  x: (N, in, L), or (in, L)
/// weight: (in, out / groups, K)   bias: (out)   y: (N, out, L')
class ConvTranspose1d : public ConvModule {
 public:
  /// A kernel of K steps. An error unless `groups` divides both numbers of channels.
  ConvTranspose1d(int64_t in_channels, int64_t out_channels, int64_t kernel,
                  ConvTranspose1dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  std::string describe() const override;

 private:
  ConvTranspose1dLayerOptions options_;
};

}  // namespace gradus
