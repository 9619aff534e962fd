#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

/// Sgd's numbers, as its formula names them.
struct SgdOptions {
  double lr = 1e-2;         ///< the learning rate
  double momentum = 0;      ///< how much of v a step keeps; 0: no v
  double dampening = 0;     ///< how much of g does not reach v
  double weight_decay = 0;  ///< added to the gradient
  bool nesterov = false;    ///< the second form
  bool maximize = false;    ///< along the gradient, with -dp in dp's place
};

/// Stochastic gradient descent:  g = dp + weight_decay p;  v = momentum v + (1 - dampening) g, and
/// v = g at the first step;  p -= lr v, or lr (g + momentum v) with Nesterov (Sutskever et al.
/// 2013).
class Sgd : public Optimizer {
 public:
  /// Errors: as Optimizer::add_group, Nesterov without momentum or with dampening.
  explicit Sgd(std::vector<Tensor> parameters, SgdOptions options = {});
  explicit Sgd(const std::vector<ParameterGroup>& groups, SgdOptions options = {});

 protected:
  void update(const Update& u) override;
  bool has_moment(size_t) const override { return options_.momentum > 0; }
  void check_constants() const override;
  bool update_may_fail() const override { return false; }

 private:
  SgdOptions options_;
};

}  // namespace gradus
