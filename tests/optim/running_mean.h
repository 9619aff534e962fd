#pragma once
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/optim/optimizer.h>

#include <functional>
#include <memory>

namespace gradus::test {

/// A user's own method, written in ops.
class RunningMean : public Optimizer {
 public:
  explicit RunningMean(std::vector<Tensor> parameters) : Optimizer("RunningMean", {"mean"}) {
    add_group({std::move(parameters), 0.1});
  }

 protected:
  void update(const Update& u) override {
    u.moments[0] = u.moments[0] * 0.9 + u.gradient * 0.1;
    copy_(u.parameter, u.parameter - u.moments[0] * u.lr);
  }
};

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)>;

/// O of these options.
template <class O, class... Options>
MakeOptimizer maker(Options... options) {
  return [=](std::vector<Tensor> p) { return std::make_unique<O>(std::move(p), options...); };
}

}  // namespace gradus::test
