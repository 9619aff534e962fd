#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/layers/module.h>

namespace gradus {

/// What a Linear has beside its sizes.
struct LinearOptions {
  bool bias = true;                          ///< whether there is one
  bool zero_bias = false;                    ///< it begins at 0, not drawn as PyTorch's default
  Activation activation = Activation::none;  ///< of the result
};

/// y = activation(x weight^T + bias).  x: (..., in)   weight: (out, in)   bias: (out)   y: (...,
/// out)
class Linear : public UnaryModule {
 public:
  /// Without features on one side: an error.
  Linear(int64_t in_features, int64_t out_features, LinearOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;
  /// What it was made with.
  const LinearOptions& options() const { return options_; }

  Parameter weight, bias;  ///< (out, in), (out)

 private:
  friend Linear fuse_linear_bn_eval(const Linear& linear, const class BatchNorm& bn);
  LinearOptions options_;
  bool rows_alone_ = false;  // x is (N, in): a norm of axis 1 is part of it
};

}  // namespace gradus
