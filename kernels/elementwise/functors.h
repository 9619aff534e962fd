#pragma once
#include <gradus/kernels/vector/math.h>

#include <type_traits>

// Each elementwise function once: its value and its gradient, as expressions that serve scalars,
// vector lanes, dual numbers and recorded tensors alike. Those without parameters are the rows of
// formulas.inc. Everything is inlined by force, since these are also compiled for each instruction
// set, and one of those copies may not stand for the others.
#define GRADUS_INLINE [[gnu::always_inline]]

namespace gradus::functions {

/// What a function's gradient is an expression of beside dy, and hence what the tape keeps: the
/// argument x or the result y.
enum class Needs { x, y, nothing };
/// Where a function and its derivative are defined: everywhere, but for poles and kinks at 0, or
/// for x > 0.
enum class Domain { all, positive };

using math::abs;
using math::ceil;
using math::cos;
using math::erf;
using math::exp;
using math::expm1;
using math::floor;
using math::gauss;
using math::log;
using math::log1p;
using math::normal_cdf;
using math::pow;
using math::sigmoid;
using math::sin;
using math::sqrt;
using math::tanh;

/// Constants in X's own precision; tensors and dual numbers are combined with double.
template <class X>
using Number = std::conditional_t<std::is_floating_point_v<X>, X, double>;

// Choices, as the ops of these names make them on tensors.
/// c ? a : b
template <class X>
GRADUS_INLINE inline X where(bool c, const X& a, const std::type_identity_t<X>& b) {
  return c ? a : b;
}
/// mask ? value : x
template <class X>
GRADUS_INLINE inline X masked_fill(const X& x, bool mask, Number<X> value) {
  return mask ? X(value) : x;
}

/// 0
template <class X>
GRADUS_INLINE inline X zeros_like(const X&) {
  return X(0);
}

/// 1 if x > 0, else 0
template <class X>
GRADUS_INLINE inline X step(const X& x) {
  return x > 0 ? X(1) : X(0);
}
/// max(x, 0), NaN for NaN
template <class X>
GRADUS_INLINE inline X relu(const X& x) {
  return x < 0 ? X(0) : x;
}
/// -1, 0 or 1
template <class X>
GRADUS_INLINE inline X sign(const X& x) {
  return (x > 0 ? X(1) : X(0)) - (x < 0 ? X(1) : X(0));
}
/// 1 if low <= x <= high, else 0
template <class X>
GRADUS_INLINE inline X inside(const X& x, Number<X> low, Number<X> high) {
  return (x >= low ? X(1) : X(0)) * (x <= high ? X(1) : X(0));
}
// For what has none of its own: dual numbers, and others.
template <class X>
GRADUS_INLINE inline X sigmoid(const X& x) {
  return 1 / (1 + exp(-x));
}
template <class X>
GRADUS_INLINE inline X log1p(const X& x) {
  return log(1 + x);
}
template <class X>
GRADUS_INLINE inline X expm1(const X& x) {
  return exp(x) - 1;
}
/// The nearest integer, of two that are as near the even one, whatever the rounding mode is.
template <class X>
GRADUS_INLINE inline X round(const X& x) {
  const X below = floor(x), above = below + 1, rest = x - below;
  const X even = below - 2 * floor(below / 2) == 0 ? below : above;
  const X nearest = rest < Number<X>(0.5) ? below : rest > Number<X>(0.5) ? above : even;
  if constexpr (std::is_floating_point_v<X>) return math::with_sign_of(nearest, x);
  return nearest;
}

/// x limited to [low, high]
template <class X>
GRADUS_INLINE inline X clamp(const X& x, Number<X> low, Number<X> high) {
  return x < low ? X(low) : x > high ? X(high) : x;
}
/// e^(-x^2 / 2)
template <class X>
GRADUS_INLINE inline X gauss(const X& x) {
  return exp(Number<X>(-0.5) * (x * x));
}
/// The normal distribution function
template <class X>
GRADUS_INLINE inline X normal_cdf(const X& x) {
  return Number<X>(0.5) * (1 + erf(Number<X>(0.70710678118654752440) * x));
}

/// x times the normal density
template <class X>
GRADUS_INLINE inline X x_density(const X& x) {
  return Number<X>(0.39894228040143267794) * (x * gauss(x));  // 1 / sqrt(2 pi)
}
constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
constexpr double kGeluScale = 0.79788456080286535588;  // sqrt(2 / pi)
constexpr double kGeluCubic = 0.044715;
/// What gelu_tanh takes the tanh of. 1/2 (1 + tanh(u)) = sigmoid(2u), which does not cancel.
template <class X>
GRADUS_INLINE inline X gelu_inner(const X& x) {
  return x * (Number<X>(kGeluScale) + Number<X>(kGeluScale * kGeluCubic) * (x * x));
}
/// gelu_tanh's derivative, s = sigmoid(2 gelu_inner(x)). Where s is 0 or 1 so is the derivative,
/// though x^3 may be infinite.
template <class X>
GRADUS_INLINE inline X gelu_tanh_slope(const X& x, const X& s) {
  const X near = clamp(x, -32, 32);
  const X slope =
      Number<X>(2 * kGeluScale) + Number<X>(6 * kGeluScale * kGeluCubic) * (near * near);
  return s * (1 + near * ((1 - s) * slope));
}
/// c e^x for x <= 0, in halves, since a large c may follow an e^x that T does not hold; c beyond.
template <class X>
GRADUS_INLINE inline X elu_slope(const X& x, Number<X> c) {
  const X half = exp(Number<X>(-0.5) * relu(-x));
  return (c * half) * half;
}
/// silu's derivative, s = sigmoid(x)
template <class X>
GRADUS_INLINE inline X silu_slope(const X& x, const X& s) {
  return s * (1 + x * (1 - s));
}
/// dy inside of [low, high] and where x is NaN, else 0
template <class X>
GRADUS_INLINE inline X clamp_gradient(const X& dy, const X& x, Number<X> low, Number<X> high) {
  return masked_fill(masked_fill(dy, x < low, 0), x > high, 0);
}
/// dy times the derivative of x ^ p; for p = 0 it is 0 whatever x and dy are.
template <class X>
GRADUS_INLINE inline X pow_gradient(const X& dy, const X& x, Number<X> p) {
  if (p == 0) return zeros_like(dy);
  return dy * (p * pow(x, p - 1));
}

/// The larger; NaN if either is.
template <class X>
GRADUS_INLINE inline X maximum(const X& a, const X& b) {
  const X larger = a > b ? a : b;  // b where a is NaN
  return a != a ? a : larger;
}
/// 1, 0 or -1 as a is larger, equal or smaller; NaN if either is.
template <class X>
GRADUS_INLINE inline X order(const X& a, const X& b) {
  const X decided = (a > b ? X(1) : X(0)) - (a < b ? X(1) : X(0));
  return a != a ? a : b != b ? b : decided;
}
/// The smaller; NaN if either is.
template <class X>
GRADUS_INLINE inline X minimum(const X& a, const X& b) {
  const X smaller = a < b ? a : b;
  return a != a ? a : smaller;
}

// Parameters of a function
struct Nothing {};
struct Constant {
  double c = 0;
};
struct Bounds {
  double low = 0, high = 0;
};
struct Line {
  double scale = 0, shift = 0;
};

// A row's functor. The gradient's second argument is named as what is kept, so that an expression
// of anything else does not compile.
#define GRADUS_UNARY_WITH(Parameters, Name, op, where, of_x, kept, ...)                            \
  struct Name : Parameters {                                                                       \
    static constexpr const char* name = #op;                                                       \
    static constexpr Domain domain = Domain::where;                                                \
    static constexpr Needs needs = Needs::kept;                                                    \
    template <class X>                                                                             \
    GRADUS_INLINE X value(const X& x) const {                                                      \
      return of_x;                                                                                 \
    }                                                                                              \
    template <class X>                                                                             \
    GRADUS_INLINE X gradient([[maybe_unused]] const X& dy, [[maybe_unused]] const X& kept) const { \
      return __VA_ARGS__;                                                                          \
    }                                                                                              \
  };
#define GRADUS_UNARY(...) GRADUS_UNARY_WITH(Nothing, __VA_ARGS__)
#include <gradus/kernels/elementwise/formulas.inc>

// Functions of two arguments; their gradients stand with the ops.
#define GRADUS_BINARY(Name, of_a_and_b)                    \
  struct Name {                                            \
    template <class X>                                     \
    GRADUS_INLINE static X value(const X& a, const X& b) { \
      return of_a_and_b;                                   \
    }                                                      \
  };
GRADUS_BINARY(Add, (a + b))
GRADUS_BINARY(Sub, (a - b))
GRADUS_BINARY(Mul, (a * b))
GRADUS_BINARY(Div, (a / b))
GRADUS_BINARY(Pow, pow(a, b))
GRADUS_BINARY(Maximum, maximum(a, b))
GRADUS_BINARY(Minimum, minimum(a, b))
GRADUS_BINARY(Order, order(a, b))
#undef GRADUS_BINARY

template <class... F>
struct TypeList {
  static constexpr int size = sizeof...(F);
};

template <class F, class... Fs>
constexpr bool is_in(TypeList<Fs...>) {
  return (std::is_same_v<F, Fs> || ...);
}

/// The place of F in a list; one that is not there does not compile.
template <class F, class... Fs>
constexpr int index_of(TypeList<Fs...>) {
  static_assert((std::is_same_v<F, Fs> || ...), "not in the list");
  int index = 0;
  (void)((std::is_same_v<F, Fs> || (++index, false)) || ...);
  return index;
}

/// TypeList, for rows that each have a comma before them
template <class, class... F>
using Rows = TypeList<F...>;

#define GRADUS_UNARY(Name, ...) , Name
#define GRADUS_UNARY_WITH(Parameters, Name, ...) , Name
using Unary = Rows<void
#include <gradus/kernels/elementwise/formulas.inc>
                   >;
using Binary = TypeList<Add, Sub, Mul, Div, Maximum, Minimum, Order, Pow>;
/// Those that integers have, too.
using OfIntegers = TypeList<Add, Sub, Mul, Maximum, Minimum>;

}  // namespace gradus::functions

#undef GRADUS_INLINE
