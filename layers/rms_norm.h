#pragma once
#include <gradus/layers/norm.h>

#include <optional>

namespace gradus {

/// What an RmsNorm has beside its shape.
struct RmsNormLayerOptions {
  std::optional<double> eps = {};  ///< inside the root; none: the machine epsilon of x's dtype
  bool affine = true;              ///< with weight
};

/// Root Mean Square Layer Normalization (Zhang & Sennrich 2019, equation 4), each position over its
/// trailing axes, the same in training and evaluation: y = x / sqrt(mean(x^2) + eps) * weight.
///
/// x: (..., normalized_shape)   weight: normalized_shape   y: like x
class RmsNorm : public NormModule {
 public:
  /// Over the last axes of this shape, or the last axis alone; no elements are an error.
  explicit RmsNorm(const Shape& normalized_shape, RmsNormLayerOptions options = {});
  explicit RmsNorm(int64_t features, RmsNormLayerOptions options = {})
      : RmsNorm(Shape{features}, options) {}
  using NormModule::forward;
  /// y is 0 where valid is false, whatever x is.
  Tensor forward(const Tensor& x, const Tensor& valid) override;

  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight;  ///< normalized_shape

 private:
  Shape normalized_shape_;
  RmsNormLayerOptions options_;
};

}  // namespace gradus
