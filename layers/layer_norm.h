#pragma once
#include <gradus/layers/norm.h>

namespace gradus {

/// What a LayerNorm has beside its shape.
struct LayerNormLayerOptions {
  double eps = 1e-5;                         ///< inside the root
  bool affine = true;                        ///< with weight
  bool bias = true;                          ///< with bias, if affine
  Activation activation = Activation::none;  ///< of the result
};

/// Layer Normalization (Ba et al. 2016, equation 3), each position over its trailing axes, the same
/// in training and evaluation: y = activation((x - mean) / sqrt(var + eps) * weight + bias).
///
/// x: (..., normalized_shape)   weight, bias: normalized_shape   y: like x
class LayerNorm : public NormModule {
 public:
  /// Over the last axes of this shape, or the last axis alone; no elements are an error.
  explicit LayerNorm(const Shape& normalized_shape, LayerNormLayerOptions options = {});
  explicit LayerNorm(int64_t features, LayerNormLayerOptions options = {})
      : LayerNorm(Shape{features}, options) {}
  using NormModule::forward;
  /// y is 0 where valid is false, whatever x is.
  Tensor forward(const Tensor& x, const Tensor& valid) override;

  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;  ///< normalized_shape

 private:
  Shape normalized_shape_;
  LayerNormLayerOptions options_;
};

}  // namespace gradus
