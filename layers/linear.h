#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/layers/module.h>

namespace gradus {

struct LinearOptions {
  bool bias = true;
  bool zero_bias = false;  ///< it begins at 0, not drawn as PyTorch's default
  Activation activation = Activation::none;
};

/// y = activation(x weight^T + bias).  x: (..., in)   weight: (out, in)   bias: (out)   y: (...,
/// out)
class Linear : public UnaryModule {
 public:
  Linear(int64_t in_features, int64_t out_features, LinearOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;

 private:
  LinearOptions options_;
};

}  // namespace gradus
