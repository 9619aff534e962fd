#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

/// Adam's numbers, as its formula names them.
struct AdamOptions {
  double lr = 1e-3;         ///< the learning rate
  double beta1 = 0.9;       ///< how much of m a step keeps
  double beta2 = 0.999;     ///< how much of v a step keeps
  double eps = 1e-8;        ///< beside the root
  double weight_decay = 0;  ///< added to the gradient
  bool amsgrad = false;     ///< the largest v so far in v's place
  bool maximize = false;    ///< along the gradient, with -dp in dp's place
};

/// Kingma & Ba 2015, algorithm 1:  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
/// p -= lr m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t). Weight decay is
/// added to the gradient: g = dp + weight_decay p. AMSGrad (Reddi et al. 2018, algorithm 2):
/// u = max(u, v), and u^ = u / (1 - beta2^t) in v^'s place.
class Adam : public Optimizer {
 public:
  /// Errors: as Optimizer::add_group, betas outside [0, 1), a negative eps.
  explicit Adam(std::vector<Tensor> parameters, AdamOptions options = {});
  explicit Adam(const std::vector<ParameterGroup>& groups, AdamOptions options = {});

 protected:
  /// `decoupled`: weight decay as AdamW has it; `method` as Optimizer has it.
  Adam(std::string method, const std::vector<ParameterGroup>& groups, AdamOptions options,
       bool decoupled);
  void update(const Update& u) override;
  void check_constants() const override;
  bool has_moment(size_t m) const override { return m < 2 || options_.amsgrad; }
  bool is_of_squares(size_t m) const override { return m >= 1; }
  double largest_factor(double lr, double weight_decay) const override;
  bool update_may_fail() const override { return false; }

 private:
  AdamOptions options_;
  bool decoupled_;
};

/// AdamW's numbers, as the formulas name them.
struct AdamWOptions {
  double lr = 1e-3;            ///< the learning rate
  double beta1 = 0.9;          ///< how much of m a step keeps
  double beta2 = 0.999;        ///< how much of v a step keeps
  double eps = 1e-8;           ///< beside the root
  double weight_decay = 1e-2;  ///< taken off the parameter itself
  bool amsgrad = false;        ///< the largest v so far in v's place
  bool maximize = false;       ///< along the gradient, with -dp in dp's place
};

/// Adam with decoupled weight decay, p -= lr weight_decay p first (Loshchilov & Hutter 2019).
class AdamW : public Adam {
 public:
  /// Errors as Adam's.
  explicit AdamW(std::vector<Tensor> parameters, AdamWOptions options = {});
  explicit AdamW(const std::vector<ParameterGroup>& groups, AdamWOptions options = {});
};

}  // namespace gradus
