#pragma once
#include <gradus/layers/linear.h>
#include <gradus/models/norm.h>

namespace gradus {

/// What an Mlp is made of.
struct MlpOptions {
  std::vector<int64_t> hidden = {64, 64};  ///< units of each hidden layer
  NormChoice norm = Norm::none;            ///< before each relu
};

/// Linear, norm, relu for each hidden layer (the norm before the nonlinearity: Ioffe & Szegedy
/// 2015, section 3.2; Ba et al. 2016, section 3), and a last Linear. x: (N, ...) with `inputs`
/// values each   y: (N, outputs)
class Mlp : public UnaryModule {
 public:
  /// For so many values an example.
  Mlp(int64_t inputs, int64_t outputs, MlpOptions options = {});
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  bool normalized_;
  std::vector<Linear> layers_;
  std::vector<AnyModule> norms_;
  Linear head_;
};

}  // namespace gradus
