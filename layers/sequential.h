#pragma once
#include <gradus/layers/any_module.h>

namespace gradus {

/// y = module_n(... module_1(module_0(x))); the children are called "0", "1", ...
class Sequential : public UnaryModule {
 public:
  /// Of these modules, in their order, and functions of a tensor, each a Lambda; they are moved or
  /// copied in.
  template <class... Modules>
  explicit Sequential(Modules... modules) {
    (children_.push_back(AnyModule(std::move(modules))), ...);
  }
  /// Puts one behind the last.
  Sequential& add(AnyModule module) &;
  Sequential add(AnyModule module) && { return std::move(add(std::move(module))); }

  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;
  /// How many children.
  size_t size() const { return children_.size(); }
  /// Child i; one that is not there is an error.
  UnaryModule& operator[](size_t i) &;

 private:
  std::vector<AnyModule> children_;
};

/// y = x + module(x)  (He et al. 2016)
class Residual : public UnaryModule {
 public:
  /// Of any module whose result has x's shape.
  explicit Residual(AnyModule module);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  AnyModule module_;
};

}  // namespace gradus
