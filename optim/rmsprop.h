#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

/// Rmsprop's numbers, as its formula names them.
struct RmspropOptions {
  double lr = 1e-2;         ///< the learning rate
  double alpha = 0.99;      ///< how much of v (and a) a step keeps
  double eps = 1e-8;        ///< beside the root
  double weight_decay = 0;  ///< added to the gradient
  double momentum = 0;      ///< how much of b a step keeps
  bool centered = false;    ///< whether the mean of g is taken off
  bool maximize = false;    ///< along the gradient, with -dp in dp's place
};

/// Tieleman & Hinton 2012, lecture 6.5:  v = alpha v + (1 - alpha) g^2;  u = g / (sqrt(v) + eps);
/// p -= lr u, or with momentum b = momentum b + u; p -= lr b. Centered: v - a^2 in v's place, a the
/// running mean of g. g = dp + weight_decay p.
class Rmsprop : public Optimizer {
 public:
  /// Errors: as Optimizer::add_group, alpha outside [0, 1], a negative eps or momentum.
  explicit Rmsprop(std::vector<Tensor> parameters, RmspropOptions options = {});
  explicit Rmsprop(const std::vector<ParameterGroup>& groups, RmspropOptions options = {});

 protected:
  void update(const Update& u) override;
  bool has_moment(size_t m) const override;
  bool is_of_squares(size_t m) const override { return m == 0; }
  void check_constants() const override;
  bool update_may_fail() const override { return false; }

 private:
  RmspropOptions options_;
};

}  // namespace gradus
