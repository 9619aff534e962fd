#define BOOST_TEST_MODULE range
#include <gradus/kernels/elementwise/elementwise.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using namespace gradus;
using namespace gradus::functions;

// The elementwise functions of f32 and their gradients over its whole range: where f32 holds the
// exact value, it is off by at most 2^-20 of it and what four rounding errors in an exponent make
// of it, or by denormal steps.
namespace {

using Exact = long double;

/// Every sign and exponent, 64 significands of each; and what lies at the ends.
std::vector<float> whole_range() {
  std::vector<float> x;
  for (uint32_t sign : {0U, 1U})
    for (uint32_t exponent = 0; exponent < 255; ++exponent)
      for (uint32_t k = 0; k < 64; ++k) {
        const uint32_t bits = sign << 31 | exponent << 23 |
                              (k < 62    ? k * 0x20864U
                               : k == 62 ? 1U
                                         : 0x7FFFFFU);
        float v;
        std::memcpy(&v, &bits, sizeof v);
        x.push_back(v);
      }
  for (float v : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    x.push_back(v), x.push_back(-v);
  return x;
}

struct Definition {
  std::function<Exact(Exact)> value, slope;
};

Exact sigmoid_of(Exact x) { return 1 / (1 + std::exp(-x)); }
Exact cdf(Exact x) { return std::erfc(-x / std::sqrt(Exact(2))) / 2; }
Exact density(Exact x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(Exact(-1))); }
Exact inner(Exact x) { return std::sqrt(2 / std::acos(Exact(-1))) * (x + 0.044715L * x * x * x); }
Exact inner_slope(Exact x) {
  return std::sqrt(2 / std::acos(Exact(-1))) * (1 + 3 * 0.044715L * x * x);
}
/// 0 where a vanishes however large b is.
Exact product(Exact a, Exact b) { return a == 0 ? 0 : a * b; }

const Exact kInf = std::numeric_limits<Exact>::infinity();

#define DEFINITION(Functor, v, d)                                 \
  Definition definition(const Functor&) {                         \
    return {[](Exact x) -> Exact { return v; },                   \
            []([[maybe_unused]] Exact x) -> Exact { return d; }}; \
  }
DEFINITION(Neg, -x, -1)
DEFINITION(Exp, std::exp(x), std::exp(x))
DEFINITION(Log, std::log(x), 1 / x)
DEFINITION(Sqrt, std::sqrt(x), 0.5L / std::sqrt(x))
DEFINITION(Rsqrt, 1 / std::sqrt(x), -0.5L / (x * std::sqrt(x)))
DEFINITION(Abs, std::abs(x), x > 0 ? 1 : x < 0 ? -1 : 0)
DEFINITION(Sin, std::sin(x), std::cos(x))
DEFINITION(Cos, std::cos(x), -std::sin(x))
DEFINITION(Tanh, std::tanh(x), 1 / (std::cosh(x) * std::cosh(x)))
DEFINITION(Erf, std::erf(x), 2 / std::sqrt(std::acos(Exact(-1))) * std::exp(-x * x))
DEFINITION(Square, x* x, 2 * x)
DEFINITION(Reciprocal, 1 / x, -1 / (x * x))
DEFINITION(Sigmoid, sigmoid_of(x), sigmoid_of(x) * sigmoid_of(-x))
DEFINITION(Relu, x > 0 ? x : x == x ? 0 : x, x > 0 ? 1 : x <= 0 ? 0 : 1)
DEFINITION(Silu, x == -kInf ? x : product(sigmoid_of(x), x),
           sigmoid_of(x) + product(sigmoid_of(x) * sigmoid_of(-x), x))
DEFINITION(Softplus, x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)), sigmoid_of(x))
DEFINITION(GeluErf, product(cdf(x), x), cdf(x) + product(density(x), x))
DEFINITION(GeluTanh, product(sigmoid_of(2 * inner(x)), x),
           sigmoid_of(2 * inner(x)) +
               product(2 * sigmoid_of(2 * inner(x)) * sigmoid_of(-2 * inner(x)), x* inner_slope(x)))
#undef DEFINITION

/// Of these the gradient at large x is 1 or 0 by a difference of what was rounded (of y, or of two
/// terms), which is off by up to a rounding error of 1; and at infinity it is NaN, as in PyTorch.
template <class F>
constexpr bool kSaturates = false;
template <>
constexpr bool kSaturates<Tanh> = true;
template <>
constexpr bool kSaturates<Sigmoid> = true;
template <>
constexpr bool kSaturates<Silu> = true;
template <>
constexpr bool kSaturates<GeluErf> = true;
template <>
constexpr bool kSaturates<GeluTanh> = true;
/// Of these the slope is, or becomes, an exponential that leaves f32 before its product with dy.
template <class F>
constexpr bool kExponential = kSaturates<F>;
template <>
constexpr bool kExponential<Exp> = true;
template <>
constexpr bool kExponential<Erf> = true;
template <>
constexpr bool kExponential<Softplus> = true;

Exact bound(float x, Exact exact) {
  const Exact size = std::abs(exact);
  const Exact share = 0x1p-20L + 0x1p-22L * (size > 0 ? std::abs(std::log(size)) : 0);
  return share * size + 0x1p-147L * std::max(Exact(1), std::min(std::abs(Exact(x)), Exact(1e3)));
}

void compare(const std::string& what, float x, Exact allowed, float got, Exact exact) {
  if (std::isnan(exact) || std::abs(exact) > 3.4028e38) {
    if (std::isnan(exact) == std::isnan(got) &&
        (std::isnan(got) || std::isinf(got) || std::abs(got) > 3.4e38))
      return;
    BOOST_ERROR(what << " of " << x << " is " << got << ", exactly " << exact);
    return;
  }
  if (!(std::abs(got - exact) <= allowed))
    BOOST_ERROR(what << " of " << x << " is " << got << ", exactly " << exact);
}

template <class F>
void walk(const char* name, const F& f) {
  const std::vector<float> x = whole_range();
  const auto n = static_cast<int64_t>(x.size());
  const Definition d = definition(f);
  std::vector<float> y(x.size()), dx(x.size());
  kernels::unary(f, n, x.data(), y.data());
  const auto skipped = [](float v) { return kSaturates<F> && std::isinf(v); };
  for (size_t i = 0; i < x.size(); ++i)
    if (!skipped(x[i])) compare(name, x[i], bound(x[i], d.value(x[i])), y[i], d.value(x[i]));
  if constexpr (F::needs != Needs::nothing)
    for (float upstream : {1.f, 1e-30f, 1e30f}) {
      if (kExponential<F> && upstream != 1) continue;
      const std::vector<float> dy(x.size(), upstream);
      kernels::unary_backward(f, n, dy.data(), (F::needs == Needs::y ? y : x).data(), dx.data());
      for (size_t i = 0; i < x.size(); ++i) {
        if (skipped(x[i])) continue;
        const Exact exact = d.slope(x[i]) * upstream;
        const Exact allowed = bound(x[i], exact) + (kSaturates<F> ? 0x1p-22L : 0);
        compare(std::string(name) + " gradient " + std::to_string(upstream), x[i], allowed, dx[i],
                exact);
      }
    }
}

}  // namespace

BOOST_AUTO_TEST_CASE(unary) {
#define GRADUS_UNARY(Functor, op, ...) walk(#op, Functor{});
#include <gradus/kernels/elementwise/formulas.inc>
  walk("gelu", GeluErf{});
  walk("gelu_tanh", GeluTanh{});
}
