#pragma once
#include <gradus/optim/optimizer.h>

namespace gradus {

struct SgdOptions {
  double lr = 1e-2;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

/// Stochastic gradient descent:  g = dp + weight_decay p;  v = momentum v + (1 - dampening) g, and
/// v = g at the first step;  p -= lr v, or lr (g + momentum v) with Nesterov (Sutskever et al.
/// 2013).
class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<Tensor> parameters, SgdOptions options = {});

 protected:
  void update(const Update& u) override;

 private:
  SgdOptions options_;
};

}  // namespace gradus
