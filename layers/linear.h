#pragma once
#include <gradus/layers/module.h>

namespace gradus {

struct LinearOptions {
  bool bias = true;
  bool zero_bias = false;  ///< it begins at 0, not drawn as PyTorch's default
  bool relu = false;       ///< max(y, 0) for y, in the same op
};

/// y = x weight^T + bias.  x: (..., in)   weight: (out, in)   bias: (out)   y: (..., out)
class Linear : public UnaryModule {
 public:
  Linear(int64_t in_features, int64_t out_features, LinearOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;

 private:
  bool zero_bias_, relu_;
};

}  // namespace gradus
