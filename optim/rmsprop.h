#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

struct RmspropOptions {
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
};

/// Tieleman & Hinton 2012, lecture 6.5:  v = alpha v + (1 - alpha) g^2;  u = g / (sqrt(v) + eps);
/// p -= lr u, or with momentum b = momentum b + u; p -= lr b. Centered: v - a^2 in v's place, a the
/// running mean of g. g = dp + weight_decay p.
class Rmsprop : public Optimizer {
 public:
  explicit Rmsprop(std::vector<Tensor> parameters, RmspropOptions options = {});

 protected:
  void update(const Update& u) override;

 private:
  RmspropOptions options_;
};

}  // namespace gradus
