#pragma once
#include <gradus/tensor/tensor.h>

#include <concepts>
#include <functional>
#include <span>
#include <utility>

namespace gradus {

namespace detail {

template <class F, size_t... i>
constexpr bool takes_tensors(std::index_sequence<i...>) {
  return std::is_invocable_r_v<Tensor, F&, decltype((void(i), std::declval<const Tensor&>()))...>;
}

/// How many single tensors F takes, 1 to 6; 0: it takes something else.
template <class F>
constexpr size_t arity() {
  size_t count = 0;
  [&]<size_t... N>(std::index_sequence<N...>) {
    (void)((takes_tensors<F>(std::make_index_sequence<N + 1>()) && (count = N + 1, true)) || ...);
  }
  (std::make_index_sequence<6>());
  return count;
}

}  // namespace detail

/// A function of tensors whose result is a tensor, from any callable of a span of them, or of one
/// to six of them.
class Function {
 public:
  /// Of a callable of a span of tensors.
  template <class F>
  requires(!std::same_as<F, Function> && std::is_invocable_r_v<Tensor, F&, std::span<const Tensor>>)
      Function(F f)
      : f_(std::move(f)) {}

  /// Of a callable of one to six tensors, which is then given as many or it is an error.
  template <class F>
  requires(!std::same_as<F, Function> &&
           !std::is_invocable_r_v<Tensor, F&, std::span<const Tensor>> && detail::arity<F>() > 0)
      Function(F f)
      : f_(spread(std::move(f), std::make_index_sequence<detail::arity<F>()>())) {}

  /// f(x)
  Tensor operator()(std::span<const Tensor> x) const { return f_(x); }

 private:
  using OfSpan = std::function<Tensor(std::span<const Tensor>)>;

  template <class F, size_t... i>
  static OfSpan spread(F f, std::index_sequence<i...>) {
    return [f = std::move(f)](std::span<const Tensor> x) mutable -> Tensor {
      (check)(x.size() == sizeof...(i), "a function of {} tensors was given {}", sizeof...(i),
              x.size());
      return f(x[i]...);
    };
  }

  OfSpan f_;
};

}  // namespace gradus
