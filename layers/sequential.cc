#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/gradcheck.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>

namespace gradus {

Sequential& Sequential::add(AnyModule module) {
  children_.push_back(std::move(module));
  name_owned();
  return *this;
}

Tensor Sequential::forward(const Tensor& x) {
  const ErrorContext where(name());
  Tensor y = x;
  for (AnyModule& child : children_) y = child(y);
  return y;
}

void Sequential::visit(Visitor& visitor) {
  for (size_t i = 0; i < children_.size(); ++i) visitor.module(std::to_string(i), *children_[i]);
}

std::string Sequential::describe() const { return "Sequential"; }

Residual::Residual(AnyModule module) : module_(std::move(module)) { finish_construction(); }

Tensor Residual::forward(const Tensor& x) {
  const ErrorContext where(name());
  return x + module_(x);
}

void Residual::visit(Visitor& visitor) { visitor.module("module", *module_); }
std::string Residual::describe() const { return "Residual"; }

static ModuleRow sequential_row("Sequential", [] {
  return std::vector{module_sample("Linear, BatchNorm, Tanh, Linear",
                                   Sequential(Linear(3, 4), BatchNorm(4), Tanh(), Linear(4, 2)),
                                   sample({5, 3}, 1))};
});

static ModuleRow residual_row("Residual", [] {
  return std::vector{
      module_sample("Linear", Residual(Sequential(Linear(3, 3), Tanh())), sample({4, 3}, 1))};
});

}  // namespace gradus
