#pragma once
#include <gradus/layers/module.h>

namespace gradus {

struct Conv2dLayerOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  bool kaiming = false;  ///< weights from Init::kaiming_uniform for a relu, not PyTorch's default
};

/// 2-D convolution (cross-correlation).  x: (N, in, H, W)   weight: (out, in / groups, K, K)
/// bias: (out)   y: (N, out, H', W'), H' = (H + 2 padding - dilation (K - 1) - 1) / stride + 1
class Conv2d : public UnaryModule {
 public:
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel,
         Conv2dLayerOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;

 private:
  Conv2dLayerOptions options_;
};

}  // namespace gradus
