#pragma once
#include <gradus/kernels/vector/math.h>

#include <type_traits>

// Each elementwise function once: its value and its derivative, as expressions that serve scalars,
// vector lanes, dual numbers and recorded tensors alike. Everything is inlined by force, since
// these are also compiled for each instruction set, and one of those copies may not stand for the
// others.
#define GRADUS_INLINE [[gnu::always_inline]]

namespace gradus::functions {

/// What a function's derivative reads, and hence what the tape keeps.
enum class Needs { argument, result, nothing };

using math::abs;
using math::cos;
using math::erf;
using math::exp;
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

/// 1 if x > 0, else 0
template <class X>
GRADUS_INLINE inline X step(const X& x) {
  return x > 0 ? X(1) : X(0);
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

/// What a row is unless it says otherwise. The derivative is a function of the argument or the
/// result.
template <Needs what>
struct Function {
  static constexpr Needs needs = what;
  /// Whether the function, or its derivative, is only defined for x > 0.
  static constexpr bool positive_domain = false;
};

struct Neg : Function<Needs::nothing> {
  static constexpr const char* name = "neg";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return -x;
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(-1);
  }
};

struct Exp : Function<Needs::result> {
  static constexpr const char* name = "exp";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return exp(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return y;
  }
};

struct Log : Function<Needs::argument> {
  static constexpr const char* name = "log";
  static constexpr bool positive_domain = true;
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return log(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return 1 / x;
  }
};

struct Sqrt : Function<Needs::result> {
  static constexpr const char* name = "sqrt";
  static constexpr bool positive_domain = true;
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return sqrt(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return Number<X>(0.5) / y;
  }
};

/// 1 / sqrt(x)
struct Rsqrt : Function<Needs::result> {
  static constexpr const char* name = "rsqrt";
  static constexpr bool positive_domain = true;
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return 1 / sqrt(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return Number<X>(-0.5) * (y * y * y);
  }
};

/// |x|; its derivative at 0 is 0.
struct Abs : Function<Needs::argument> {
  static constexpr const char* name = "abs";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return abs(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return sign(x);
  }
};

struct Sin : Function<Needs::argument> {
  static constexpr const char* name = "sin";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return sin(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return cos(x);
  }
};

struct Cos : Function<Needs::argument> {
  static constexpr const char* name = "cos";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return cos(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return -sin(x);
  }
};

struct Tanh : Function<Needs::result> {
  static constexpr const char* name = "tanh";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return tanh(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return 1 - y * y;
  }
};

struct Erf : Function<Needs::argument> {
  static constexpr const char* name = "erf";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return erf(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return Number<X>(1.12837916709551257390) * exp(-(x * x));  // 2 / sqrt(pi)
  }
};

/// 1 / (1 + exp(-x))
struct Sigmoid : Function<Needs::result> {
  static constexpr const char* name = "sigmoid";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return sigmoid(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return y * (1 - y);
  }
};

/// max(x, 0); its derivative at 0 is 0.
struct Relu : Function<Needs::result> {
  static constexpr const char* name = "relu";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x < 0 ? X(0) : x;  // so that NaN stays
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return step(y);
  }
};

/// x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016)
struct GeluErf : Function<Needs::argument> {
  static constexpr const char* name = "gelu";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x * normal_cdf(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    const Number<X> density = Number<X>(0.39894228040143267794);  // 1 / sqrt(2 pi)
    return normal_cdf(x) + density * (x * gauss(x));
  }
};

/// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
struct GeluTanh : Function<Needs::argument> {
  static constexpr const char* name = "gelu_tanh";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return Number<X>(0.5) * (x * (1 + tanh(inner(x))));
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    const X t = tanh(inner(x));
    const X slope = Number<X>(kScale) + Number<X>(3 * kScale * kCubic) * (x * x);
    return Number<X>(0.5) * ((1 + t) + x * ((1 - t * t) * slope));
  }

 private:
  static constexpr double kScale = 0.79788456080286535588;  // sqrt(2 / pi)
  static constexpr double kCubic = 0.044715;
  template <class X>
  GRADUS_INLINE static X inner(const X& x) {
    return x * (Number<X>(kScale) + Number<X>(kScale * kCubic) * (x * x));
  }
};

/// x sigmoid(x)
struct Silu : Function<Needs::argument> {
  static constexpr const char* name = "silu";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x * sigmoid(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    const X s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
};

/// log(1 + exp(x))
struct Softplus : Function<Needs::argument> {
  static constexpr const char* name = "softplus";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return Relu().value(x) + log1p(exp(-abs(x)));
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return sigmoid(x);
  }
};

struct Square : Function<Needs::argument> {
  static constexpr const char* name = "square";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x * x;
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return 2 * x;
  }
};

/// 1 / x
struct Reciprocal : Function<Needs::result> {
  static constexpr const char* name = "reciprocal";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return 1 / x;
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& y) const {
    return -(y * y);
  }
};

/// x limited to [low, high]; its derivative is 1 on the closed interval.
struct Clamp : Function<Needs::argument> {
  static constexpr const char* name = "clamp";
  double low = 0, high = 0;
  Clamp() = default;
  Clamp(double low_, double high_) : low(low_), high(high_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    const Number<X> from = static_cast<Number<X>>(low), to = static_cast<Number<X>>(high);
    return x < from ? X(from) : x > to ? X(to) : x;
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    return inside(x, static_cast<Number<X>>(low), static_cast<Number<X>>(high));
  }
};

/// x ^ exponent
struct PowScalar : Function<Needs::argument> {
  static constexpr const char* name = "pow_scalar";
  static constexpr bool positive_domain = true;
  double exponent = 0;
  PowScalar() = default;
  explicit PowScalar(double exponent_) : exponent(exponent_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return pow(x, static_cast<Number<X>>(exponent));
  }
  template <class X>
  GRADUS_INLINE X derivative(const X& x) const {
    const Number<X> p = static_cast<Number<X>>(exponent);
    if (p == 0) return x * 0;
    return p * pow(x, p - 1);
  }
};

struct AddScalar : Function<Needs::nothing> {
  static constexpr const char* name = "add_scalar";
  double c = 0;
  AddScalar() = default;
  explicit AddScalar(double c_) : c(c_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x + static_cast<Number<X>>(c);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(1);
  }
};

struct MulScalar : Function<Needs::nothing> {
  static constexpr const char* name = "mul_scalar";
  double c = 0;
  MulScalar() = default;
  explicit MulScalar(double c_) : c(c_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x * static_cast<Number<X>>(c);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(static_cast<Number<X>>(c));
  }
};

struct DivScalar : Function<Needs::nothing> {
  static constexpr const char* name = "div_scalar";
  double c = 1;
  DivScalar() = default;
  explicit DivScalar(double c_) : c(c_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return x / static_cast<Number<X>>(c);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(static_cast<Number<X>>(1 / c));
  }
};

struct Step : Function<Needs::nothing> {
  static constexpr const char* name = "step";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return step(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(0);
  }
};

struct Sign : Function<Needs::nothing> {
  static constexpr const char* name = "sign";
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return sign(x);
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(0);
  }
};

struct Inside : Function<Needs::nothing> {
  static constexpr const char* name = "inside";
  double low = 0, high = 0;
  Inside() = default;
  Inside(double low_, double high_) : low(low_), high(high_) {}
  template <class X>
  GRADUS_INLINE X value(const X& x) const {
    return inside(x, static_cast<Number<X>>(low), static_cast<Number<X>>(high));
  }
  template <class X>
  GRADUS_INLINE X derivative(const X&) const {
    return X(0);
  }
};

// Functions of two arguments; their derivatives stand with the ops.

struct Add {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    return a + b;
  }
};
struct Sub {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    return a - b;
  }
};
struct Mul {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    return a * b;
  }
};
struct Div {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    return a / b;
  }
};
/// The larger; NaN if either is.
struct Maximum {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    const X larger = a > b ? a : b;  // b where a is NaN
    return a != a ? a : larger;
  }
};
/// The smaller; NaN if either is.
struct Minimum {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    const X smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};
/// a ^ b
struct Pow {
  template <class X>
  GRADUS_INLINE static X value(const X& a, const X& b) {
    return pow(a, b);
  }
};

template <class... F>
struct TypeList {
  static constexpr int size = sizeof...(F);
};

/// The place of F in a list; one that is not there does not compile.
template <class F, class... Fs>
constexpr int index_of(TypeList<Fs...>) {
  static_assert((std::is_same_v<F, Fs> || ...), "not in the list");
  int index = 0;
  (void)((std::is_same_v<F, Fs> || (++index, false)) || ...);
  return index;
}

using Unary = TypeList<Neg, Exp, Log, Sqrt, Rsqrt, Abs, Sin, Cos, Tanh, Erf, Sigmoid, Relu, GeluErf,
                       GeluTanh, Silu, Softplus, Square, Reciprocal, Clamp, PowScalar, AddScalar,
                       MulScalar, DivScalar, Step, Sign, Inside>;
using Binary = TypeList<Add, Sub, Mul, Div, Maximum, Minimum, Pow>;

}  // namespace gradus::functions

#undef GRADUS_INLINE
