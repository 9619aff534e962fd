#pragma once
#include <gradus/layers/module.h>

#include <memory>

namespace gradus {

/// Holds any UnaryModule by value: copying it copies the module.
class AnyModule {
 public:
  template <class M>
  requires std::derived_from<M, UnaryModule> AnyModule(M module)
      : module_(std::make_unique<M>(std::move(module))), copy_([](const UnaryModule& m) {
          return std::unique_ptr<UnaryModule>(std::make_unique<M>(static_cast<const M&>(m)));
        }) {}
  AnyModule(const AnyModule& other) : module_(other.copy_(*other.module_)), copy_(other.copy_) {}
  AnyModule(AnyModule&&) noexcept = default;
  AnyModule& operator=(const AnyModule& other) { return *this = AnyModule(other); }
  AnyModule& operator=(AnyModule&&) noexcept = default;

  Tensor operator()(const Tensor& x) { return module_->forward(x); }
  UnaryModule& operator*() { return *module_; }
  UnaryModule* operator->() { return module_.get(); }
  /// The module if it is an M, else nullptr.
  template <class M>
  M* as() {
    return dynamic_cast<M*>(module_.get());
  }

 private:
  std::unique_ptr<UnaryModule> module_;
  std::unique_ptr<UnaryModule> (*copy_)(const UnaryModule&);
};

/// y = module_n(... module_1(module_0(x))); the children are called "0", "1", ...
class Sequential : public UnaryModule {
 public:
  template <class... Modules>
  explicit Sequential(Modules... modules) {
    (children_.push_back(AnyModule(std::move(modules))), ...);
    finish_construction();
  }
  Sequential& add(AnyModule module);

  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;
  size_t size() const { return children_.size(); }
  UnaryModule& operator[](size_t i) { return *children_.at(i); }

 private:
  std::vector<AnyModule> children_;
};

/// y = x + module(x)  (He et al. 2016)
class Residual : public UnaryModule {
 public:
  explicit Residual(AnyModule module);
  Tensor forward(const Tensor& x) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  AnyModule module_;
};

}  // namespace gradus
