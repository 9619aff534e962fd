#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>

namespace gradus {

Sequential& Sequential::add(AnyModule module) & {
  children_.push_back(std::move(module));
  return *this;
}

UnaryModule& Sequential::operator[](size_t i) & {
  check(i < children_.size(), "Sequential: there is no module {} of {}, they count from 0", i,
        children_.size());
  return *children_[i];
}

Tensor Sequential::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  Tensor y = x;
  for (AnyModule& child : children_) y = child(y);
  return y;
}

void Sequential::visit(Visitor& visitor) {
  for (size_t i = 0; i < children_.size(); ++i) visitor.module(std::to_string(i), *children_[i]);
}

std::string Sequential::describe() const { return "Sequential"; }

Residual::Residual(AnyModule module) : module_(std::move(module)) {}

Tensor Residual::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return x + module_(x);
}

void Residual::visit(Visitor& visitor) { visitor.module("module", *module_); }
std::string Residual::describe() const { return "Residual"; }

}  // namespace gradus
