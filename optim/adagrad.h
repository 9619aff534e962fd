#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

/// Adagrad's numbers, as its formula names them.
struct AdagradOptions {
  double lr = 1e-2;                      ///< the learning rate
  double lr_decay = 0;                   ///< how fast the rate falls by itself
  double weight_decay = 0;               ///< added to the gradient
  double initial_accumulator_value = 0;  ///< v before the first step
  double eps = 1e-10;                    ///< beside the root
  bool maximize = false;                 ///< along the gradient, with -dp in dp's place
};

/// Duchi, Hazan & Singer 2011:  g = dp + weight_decay p;  v += g^2;
/// p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).
class Adagrad : public Optimizer {
 public:
  /// Errors: as Optimizer::add_group, a decay, first value or eps that is negative.
  explicit Adagrad(std::vector<Tensor> parameters, AdagradOptions options = {});
  explicit Adagrad(const std::vector<ParameterGroup>& groups, AdagradOptions options = {});

 protected:
  void update(const Update& u) override;
  bool is_of_squares(size_t) const override { return true; }
  void check_constants() const override;
  bool update_may_fail() const override { return false; }

 private:
  AdagradOptions options_;
};

}  // namespace gradus
