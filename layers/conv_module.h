#pragma once
#include <gradus/autograd/ops/conv.h>
#include <gradus/layers/module.h>

namespace gradus {

/// What the layers of convolutions have in common: a weight, a bias, and how they are drawn.
class ConvModule : public UnaryModule {
 public:
  void visit(Visitor& visitor) override;

  /// (out, in / groups, K, ...), of a transposed convolution (in, out / groups, K, ...); (out)
  Parameter weight, bias;

 protected:
  /// What decides their shapes.
  struct Sizes {
    int64_t in, out, groups;  ///< of the layer
    Shape kernel;             ///< a size for each axis
    bool bias;                ///< whether there is one
  };
  /// A weight of (first, second / groups, K, ...), drawn by PyTorch's default from its fan-in, or
  /// from Init::kaiming_uniform. An error, beginning with `kind`, for what is no convolution.
  ConvModule(const char* kind, const Sizes& sizes, bool transposed, bool kaiming = false);
  /// "Conv2d(2, 3, kernel 3, stride 1, padding 1)" and the like.
  std::string listing(const char* kind, int64_t in, int64_t out, Pair stride,
                      Padding padding) const;
};

}  // namespace gradus
