#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/layers/module.h>

#include <functional>

namespace gradus {

/// How a layer's description ends: what is fused into it, or nothing.
inline const char* suffix(Activation activation) {
  return activation == Activation::relu ? ", relu" : "";
}

/// A module without parameters: y = f(x).
class ActivationModule : public UnaryModule {
 public:
  /// `kind` is what describe() gives.
  ActivationModule(std::string kind, std::function<Tensor(const Tensor&)> f)
      : kind_(std::move(kind)), f_(std::move(f)) {}
  Tensor forward(const Tensor& x) override { return f_(x); }
  void visit(Visitor&) override {}
  std::string describe() const override { return kind_; }

 private:
  std::string kind_;
  std::function<Tensor(const Tensor&)> f_;
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

/// softmax along an axis, as a layer.
struct Softmax : ActivationModule {
  /// Of the axis whose elements sum to 1.
  explicit Softmax(int64_t axis = -1)
      : ActivationModule(fmt::format("Softmax({})", axis),
                         [axis](const Tensor& x) { return softmax(x, axis); }) {}
};
/// log_softmax along an axis, as a layer.
struct LogSoftmax : ActivationModule {
  /// Of the axis whose exponentials sum to 1.
  explicit LogSoftmax(int64_t axis = -1)
      : ActivationModule(fmt::format("LogSoftmax({})", axis),
                         [axis](const Tensor& x) { return log_softmax(x, axis); }) {}
};

}  // namespace gradus
