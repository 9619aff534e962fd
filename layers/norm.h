#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/layers/any_module.h>

namespace gradus {

/// A norm: y like x. Where `valid` (bool, x's shape without the normalized axes) is false, x enters
/// neither statistics nor gradient.
class NormModule : public UnaryModule {
 public:
  Tensor forward(const Tensor& x) final { return forward(x, {}); }
  /// valid: bool, or none: all
  virtual Tensor forward(const Tensor& x, const Tensor& valid) = 0;
  /// forward(x, valid) in a ForwardScope.
  Tensor operator()(const Tensor& x, const Tensor& valid = {}) {
    const ForwardScope scope(*this);
    return forward(x, valid);
  }
};

/// Holds any norm by value.
using AnyNorm = Any<NormModule>;

/// In the place of a norm: y = activation(x), whatever is valid.
class NoNorm : public NormModule {
 public:
  /// What it applies to x.
  explicit NoNorm(Activation activation = Activation::none) : activation_(activation) {}
  using NormModule::forward;
  Tensor forward(const Tensor& x, const Tensor& valid) override;
  void visit(Visitor&) override {}
  std::string describe() const override;

 private:
  Activation activation_;
};

}  // namespace gradus
