#pragma once
#include <gradus/layers/module.h>

namespace gradus {

/// In training sets each element to 0 with probability p and divides the others by 1 - p
/// (Srivastava et al. 2014); in evaluation y = x. Draws from default_generator().
class Dropout : public UnaryModule {
 public:
  /// An error unless p lies in [0, 1].
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor&) override {}
  std::string describe() const override;
  /// The probability.
  double p() const { return p_; }

 private:
  double p_;
};

}  // namespace gradus
