#pragma once
#include <gradus/layers/conv2d.h>
#include <gradus/layers/linear.h>
#include <gradus/models/norm.h>

namespace gradus {

/// relu(shortcut(x) + norm2(conv2(relu(norm1(conv1(x)))))), the shortcut a strided 1x1 convolution
/// where the shape changes (He et al. 2016, section 3.3; norm after each 3x3 convolution: section
/// 3.4).
class ResidualBlock : public UnaryModule {
 public:
  /// height, width: of x.
  ResidualBlock(int64_t in_channels, int64_t out_channels, int64_t stride, int64_t height,
                int64_t width, const NormChoice& norm);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Conv2d conv1_, conv2_;
  AnyModule norm1_, norm2_, shortcut_;
};

/// What a Cnn is made of.
struct CnnOptions {
  std::vector<int64_t> channels = {16, 32};  ///< of each stage; each but the first halves the image
  NormChoice norm = Norm::none;              ///< after each 3x3 convolution
};

/// A small residual network: 3x3 convolution, norm, relu, one residual block a stage, mean over the
/// positions, Linear.  x: (N, channels, height, width)   y: (N, classes)
class Cnn : public UnaryModule {
 public:
  /// For images of this shape.
  Cnn(int64_t channels, int64_t height, int64_t width, int64_t classes, CnnOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Conv2d stem_;
  AnyModule stem_norm_;
  std::vector<ResidualBlock> blocks_;
  Linear head_;
};

}  // namespace gradus
