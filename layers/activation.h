#pragma once
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/layers/module.h>

namespace gradus {

/// A module without parameters: y = f(x), each element for itself.
class Activation : public UnaryModule {
 public:
  Activation(std::string kind, Tensor (*f)(const Tensor&)) : kind_(std::move(kind)), f_(f) {}
  Tensor forward(const Tensor& x) override { return f_(x); }
  void visit(Visitor&) override {}
  std::string describe() const override { return kind_; }

 private:
  std::string kind_;
  Tensor (*f_)(const Tensor&);
};

struct Relu : Activation {
  Relu() : Activation("Relu", relu) {}
};
struct Tanh : Activation {
  Tanh() : Activation("Tanh", tanh) {}
};
struct Sigmoid : Activation {
  Sigmoid() : Activation("Sigmoid", sigmoid) {}
};
struct Silu : Activation {
  Silu() : Activation("Silu", silu) {}
};
struct Softplus : Activation {
  Softplus() : Activation("Softplus", softplus) {}
};
struct Gelu : Activation {
  Gelu() : Activation("Gelu", [](const Tensor& x) { return gelu(x); }) {}
};
struct Identity : Activation {
  Identity() : Activation("Identity", [](const Tensor& x) { return x; }) {}
};

}  // namespace gradus
