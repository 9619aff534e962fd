#pragma once
#include <gradus/autograd/ops/conv.h>
#include <gradus/layers/module.h>

namespace gradus {

/// As Conv2dOptions, the same for height and width.
struct Conv2dLayerOptions {
  int64_t stride = 1;    ///< pixels from a window to the next
  int64_t padding = 0;   ///< zeros around the image, on each side
  int64_t dilation = 1;  ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;    ///< group g of the outputs sees group g of the inputs alone
  bool bias = true;      ///< whether there is one
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;  ///< as in Conv2dOptions
  bool kaiming = false;  ///< weights from Init::kaiming_uniform for a relu, not PyTorch's default
};

/// 2-D convolution (cross-correlation).  x: (N, in, H, W)   weight: (out, in / groups, K, K)
/// bias: (out)   y: (N, out, H', W'), H' = (H + 2 padding - dilation (K - 1) - 1) / stride + 1
class Conv2d : public UnaryModule {
 public:
  /// A kernel of K x K. An error unless `groups` divides both numbers of channels.
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel,
         Conv2dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;  ///< (out, in / groups, K, K), (out)

 private:
  Conv2dLayerOptions options_;
};

}  // namespace gradus
