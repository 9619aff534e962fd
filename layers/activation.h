#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/layers/module.h>

namespace gradus {

/// How a layer's description ends: what is fused into it, or nothing.
inline const char* suffix(Activation activation) {
  return activation == Activation::relu ? ", relu" : "";
}

/// A module without parameters: y = f(x).
class ActivationModule : public UnaryModule {
 public:
  /// `kind` is what describe() gives.
  ActivationModule(std::string kind, Tensor (*f)(const Tensor&)) : kind_(std::move(kind)), f_(f) {}
  Tensor forward(const Tensor& x) override { return f_(x); }
  void visit(Visitor&) override {}
  std::string describe() const override { return kind_; }

 private:
  std::string kind_;
  Tensor (*f_)(const Tensor&);
};

/// The function of that name (gelu in its exact form), as a layer; Identity: y = x.
struct Relu : ActivationModule {
  Relu() : ActivationModule("Relu", relu) {}
};
struct Tanh : ActivationModule {
  Tanh() : ActivationModule("Tanh", tanh) {}
};
struct Sigmoid : ActivationModule {
  Sigmoid() : ActivationModule("Sigmoid", sigmoid) {}
};
struct Silu : ActivationModule {
  Silu() : ActivationModule("Silu", silu) {}
};
struct Softplus : ActivationModule {
  Softplus() : ActivationModule("Softplus", softplus) {}
};
struct Gelu : ActivationModule {
  Gelu() : ActivationModule("Gelu", [](const Tensor& x) { return gelu(x); }) {}
};
struct Identity : ActivationModule {
  Identity() : ActivationModule("Identity", [](const Tensor& x) { return x; }) {}
};

}  // namespace gradus
