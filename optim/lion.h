#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

/// Lion's numbers, as its formula names them.
struct LionOptions {
  double lr = 1e-4;         ///< the learning rate, a third to a tenth of AdamW's
  double beta1 = 0.9;       ///< m's share in the step's direction
  double beta2 = 0.99;      ///< how much of m a step keeps
  double weight_decay = 0;  ///< taken off the parameter itself, three to ten times AdamW's
};

/// Chen et al. 2023, algorithm 2:  c = beta1 m + (1 - beta1) dp;
/// p -= lr (sign(c) + weight_decay p);  m = beta2 m + (1 - beta2) dp. sign(0) is 0, and what is
/// NaN stays NaN.
class Lion : public Optimizer {
 public:
  /// Errors: as Optimizer::add_group, betas outside [0, 1).
  explicit Lion(std::vector<Tensor> parameters, LionOptions options = {});
  explicit Lion(const std::vector<ParameterGroup>& groups, LionOptions options = {});

 protected:
  void update(const Update& u) override;
  void check_constants() const override;
  double largest_factor(double lr, double weight_decay) const override;
  bool update_may_fail() const override { return false; }

 private:
  LionOptions options_;
};

}  // namespace gradus
