#pragma once
#include <gradus/layers/module.h>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>

namespace gradus {

/// A module without parameters, of any function: y = f(x). What is no module in a Sequential
/// becomes one: Sequential(Linear(4, 3), [](const Tensor& x) { return clamp(x, 0, 6); }).
class Lambda : public UnaryModule {
 public:
  /// y = f(x)
  explicit Lambda(std::function<Tensor(const Tensor&)> f) : f_(std::move(f)) {}
  Tensor forward(const Tensor& x) override { return f_(x); }
  void visit(Visitor&) override {}
  std::string describe() const override { return "Lambda"; }

 private:
  std::function<Tensor(const Tensor&)> f_;
};

template <class Base>
class Any;
namespace detail {
template <class T>
constexpr bool kIsAny = false;
template <class Base>
constexpr bool kIsAny<Any<Base>> = true;
}  // namespace detail

/// Holds any module that is a Base by value: copying it copies the module.
template <class Base>
class Any {
 public:
  /// Holds `module`.
  template <std::derived_from<Base> M>
  Any(M module)
      : module_(std::make_unique<M>(std::move(module))), copy_(copy_of<M>), assign_(assign_to<M>) {}
  /// Holds Lambda(f).
  template <class F>
  requires(std::same_as<Base, UnaryModule> && !std::derived_from<F, Module> && !detail::kIsAny<F> &&
           std::is_invocable_r_v<Tensor, F&, const Tensor&>) Any(F f)
      : Any(Lambda(std::move(f))) {}
  /// What was known to be more than a Base.
  template <std::derived_from<Base> More>
  Any(Any<More> other)
      : module_(std::move(other.module_)), copy_(other.copy_), assign_(other.assign_) {}
  /// A copy of the module.
  Any(const Any& other)
      : module_(other.copy_(*other.module_)), copy_(other.copy_), assign_(other.assign_) {}
  Any(Any&&) noexcept = default;
  /// The module that is here, if it is of the other's class, takes the other's values, so that
  /// handles to its parameters, an optimizer's, stay valid; else a copy takes its place.
  Any& operator=(const Any& other) {
    if (!module_ || copy_ != other.copy_ || !assign_(*module_, *other.module_)) *this = Any(other);
    return *this;
  }
  Any& operator=(Any&&) noexcept = default;

  /// The module's forward(inputs...) in a ForwardScope.
  template <class... Inputs>
  Tensor operator()(const Inputs&... inputs) {
    const ForwardScope scope(*module_);
    return (**this).forward(inputs...);
  }
  /// The module; as a reference not of a temporary, which would end before it.
  Base& operator*() & { return static_cast<Base&>(*module_); }
  Base* operator->() { return &**this; }

 private:
  template <class Less>
  friend class Any;
  template <class M>
  static std::unique_ptr<Module> copy_of(const Module& module) {
    return std::make_unique<M>(static_cast<const M&>(module));
  }

  /// Whether a module of this class can be assigned, and then is.
  template <class M>
  static bool assign_to(Module& to, const Module& from) {
    if constexpr (std::is_copy_assignable_v<M>) static_cast<M&>(to) = static_cast<const M&>(from);
    return std::is_copy_assignable_v<M>;
  }

  std::unique_ptr<Module> module_;
  std::unique_ptr<Module> (*copy_)(const Module&);
  bool (*assign_)(Module& to, const Module& from);
};

/// Holds any module that takes one tensor.
using AnyModule = Any<UnaryModule>;

}  // namespace gradus
