#define BOOST_TEST_MODULE range
#include <fmt/format.h>
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
// of it, or by denormal steps. Gradients are compared where f32 holds the slope. Those of two
// arguments are in tests/autograd/test_range.cc.
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
DEFINITION(Log1p, std::log1p(x), 1 / (1 + x))
DEFINITION(Expm1, std::expm1(x), std::exp(x))
DEFINITION(Relu, x > 0 ? x : x == x ? 0 : x, x > 0 ? 1 : x <= 0 ? 0 : 1)
DEFINITION(Silu, x == -kInf ? x : product(sigmoid_of(x), x),
           sigmoid_of(x) + product(sigmoid_of(x) * sigmoid_of(-x), x))
DEFINITION(Softplus, x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)), sigmoid_of(x))
DEFINITION(GeluErf, product(cdf(x), x), cdf(x) + product(density(x), x))
DEFINITION(GeluTanh, product(sigmoid_of(2 * inner(x)), x),
           sigmoid_of(2 * inner(x)) +
               product(2 * sigmoid_of(2 * inner(x)) * sigmoid_of(-2 * inner(x)), x* inner_slope(x)))
#undef DEFINITION

Exact number(double c) { return static_cast<float>(c); }
Definition definition(const AddScalar& f) {
  return {[=](Exact x) { return x + number(f.c); }, {}};
}
Definition definition(const MulScalar& f) {
  return {[=](Exact x) { return x * number(f.c); }, {}};
}
Definition definition(const DivScalar& f) {
  return {[=](Exact x) { return x / number(f.c); }, {}};
}
Definition definition(const Affine& f) {
  return {[=](Exact x) { return x * number(f.scale) + number(f.shift); }, {}};
}
Definition definition(const ScalarDiv& f) {
  return {[=](Exact x) { return number(f.c) / x; },
          [=](Exact x) { return -number(f.c) / (x * x); }};
}
Definition definition(const PowScalar& f) {
  return {[=](Exact x) { return std::pow(x, number(f.c)); },
          [=](Exact x) { return f.c == 0 ? 0 : number(f.c) * std::pow(x, number(f.c) - 1); }};
}
Definition definition(const LeakyRelu& f) {
  return {[=](Exact x) { return x > 0 ? x : x * number(f.c); },
          [=](Exact x) { return x > 0 ? 1 : number(f.c); }};
}
Definition definition(const Elu& f) {
  return {[=](Exact x) { return x > 0 ? x : number(f.c) * std::expm1(x); },
          [=](Exact x) { return x > 0 ? 1 : number(f.c) * std::exp(x); }};
}
Definition definition(const Clamp& f) {
  return {[=](Exact x) {
            return x < number(f.low) ? number(f.low) : x > number(f.high) ? number(f.high) : x;
          },
          [=](Exact x) -> Exact { return x < number(f.low) || x > number(f.high) ? 0 : 1; }};
}

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

/// What the terms of a sum may lose where they cancel each other.
template <class F>
Exact cancelled(const F&, Exact) {
  return 0;
}
Exact cancelled(const Affine& f, Exact x) { return 0x1p-23L * std::abs(x * number(f.scale)); }

/// What a slope is a multiple of that has to be held, too.
template <class F>
Exact factor_of(const F&) {
  return 1;
}
Exact factor_of(const PowScalar& f) { return f.c; }

Exact bound(Exact x, Exact exact) {
  const Exact size = std::abs(exact);
  const Exact share = 0x1p-20L + 0x1p-22L * (size > 0 ? std::abs(std::log(size)) : 0);
  return share * size + 0x1p-147L * std::max(Exact(1), std::min(std::abs(x), Exact(1e3)));
}

/// Whether it is one of f32's normal numbers, or rounds to one.
bool holds(Exact v) { return std::abs(v) <= 3.4e38L && std::abs(v) >= 0x1p-126L; }

void compare(const std::string& what, Exact allowed, float got, Exact exact) {
  if (std::isnan(exact) || std::abs(exact) > 3.4028e38L) {
    if (std::isnan(exact) == std::isnan(got) &&
        (std::isnan(got) || std::isinf(got) || std::abs(got) > 3.4e38))
      return;
  } else if (std::abs(got - exact) <= allowed) {
    return;
  }
  BOOST_ERROR(what << " is " << got << ", exactly " << exact);
}

template <class F>
void walk(const char* name, const F& f) {
  const std::vector<float> x = whole_range();
  const auto n = static_cast<int64_t>(x.size());
  const Definition d = definition(f);
  std::vector<float> y(x.size()), dx(x.size());
  kernels::unary(f, n, x.data(), y.data());
  const auto skipped = [](float v) { return kSaturates<F> && std::isinf(v); };
  for (size_t i = 0; i < x.size(); ++i) {
    const Exact exact = d.value(x[i]);
    if (!skipped(x[i]))
      compare(fmt::format("{} of {}", name, x[i]), bound(x[i], exact) + cancelled(f, x[i]), y[i],
              exact);
  }
  if constexpr (F::needs == Needs::nothing) return;
  for (float upstream : {1.f, 1e-30f, 1e30f}) {
    const std::vector<float> dy(x.size(), upstream);
    kernels::unary_backward(f, n, dy.data(), (F::needs == Needs::y ? y : x).data(), dx.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const Exact slope = d.slope(x[i]), exact = slope * upstream;
      if (skipped(x[i]) || (upstream != 1 && !holds(slope))) continue;
      if (factor_of(f) != 1 && !holds(slope / factor_of(f))) continue;
      const Exact allowed = upstream * bound(x[i], slope) + bound(x[i], 0) +
                            (kSaturates<F> ? 0x1p-22L * upstream : 0);
      compare(fmt::format("{} gradient {} of {}", name, upstream, x[i]), allowed, dx[i], exact);
    }
  }
}

/// Both signs, every exponent, three significands; and what lies at the ends.
std::vector<float> pairs_range() {
  std::vector<float> x;
  for (float sign : {1.f, -1.f}) {
    for (int exponent = -149; exponent < 128; exponent += 3)
      for (float significand : {1.f, 1.3f, 1.999f})
        x.push_back(sign * std::ldexp(significand, exponent));
    for (float v :
         {0.f, 2.f, 3.f, 0.5f, 1e-3f, 17.f, std::numeric_limits<float>::max(),
          std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
      x.push_back(sign * v);
  }
  return x;
}

template <class F>
void walk_pairs(const char* name, Exact (*exact)(Exact, Exact)) {
  const std::vector<float> b = pairs_range();
  const auto n = static_cast<int64_t>(b.size());
  std::vector<float> y(b.size());
  for (float a : pairs_range()) {
    kernels::binary<F>(n, &a, 0, b.data(), 1, y.data());
    for (size_t i = 0; i < b.size(); ++i) {
      const Exact v = exact(a, b[i]);
      compare(fmt::format("{} of {} and {}", name, a, b[i]), bound(1, v), y[i], v);
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

BOOST_AUTO_TEST_CASE(binary) {
  walk_pairs<Add>("add", [](Exact a, Exact b) { return a + b; });
  walk_pairs<Sub>("sub", [](Exact a, Exact b) { return a - b; });
  walk_pairs<Mul>("mul", [](Exact a, Exact b) { return a * b; });
  walk_pairs<Div>("div", [](Exact a, Exact b) { return a / b; });
  walk_pairs<Pow>("pow", [](Exact a, Exact b) { return std::pow(a, b); });
  walk_pairs<Maximum>("maximum", [](Exact a, Exact b) {
    return a != a ? a : b != b ? b : std::max(a, b);
  });
  walk_pairs<Minimum>("minimum", [](Exact a, Exact b) {
    return a != a ? a : b != b ? b : std::min(a, b);
  });
  walk_pairs<Order>("order", [](Exact a, Exact b) {
    return a != a ? a : b != b ? b : Exact(a > b) - Exact(a < b);
  });
}

// A number that the function has beside x.
BOOST_AUTO_TEST_CASE(with_a_number) {
  for (double c : {0.0, 1.0, -1.0, 0.7, -3.0, 1e-30, 1e30, 3e38, 1e-40}) {
    walk("add_scalar", AddScalar{c});
    walk("mul_scalar", MulScalar{c});
    if (c != 0) walk("div_scalar", DivScalar{c});
    walk("scalar_div", ScalarDiv{c});
    walk("affine", Affine{c, 1});
    walk("affine", Affine{-1, c});
    walk("clamp", Clamp{-c, c});
    walk("leaky_relu", LeakyRelu{c});
    walk("elu", Elu{c});
  }
  for (double c : {0.5, -0.5, 1.7, -1.7, 100.5, -40.0}) walk("pow_scalar", PowScalar{c});
  for (int n = -13; n <= 13; ++n) walk("pow_scalar", PowScalar{static_cast<double>(n)});
}

// The exponents that `pow` makes products of; gradients of negative ones wherever f32 holds them.
BOOST_AUTO_TEST_CASE(integer_powers) {
  const std::vector<float> x = whole_range();
  const auto count = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size()), dx(x.size());
  const auto power = [](Exact base, int n) { return n == 0 ? Exact(1) : std::pow(base, n); };
  for (int n = -kernels::kLargestIntegerPower; n <= kernels::kLargestIntegerPower; ++n) {
    kernels::integer_power(count, n, x.data(), y.data());
    for (size_t i = 0; i < x.size(); ++i)
      compare(fmt::format("{} to {}", x[i], n), bound(x[i], power(x[i], n)), y[i], power(x[i], n));
    if (n == 0) continue;  // whose gradient is no product
    for (float upstream : {1.f, 1e-30f, 1e30f}) {
      const std::vector<float> dy(x.size(), upstream);
      kernels::integer_power_backward(count, n, dy.data(), x.data(), dx.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const Exact slope = n * power(x[i], n - 1);
        if (upstream != 1 && n > 0 && !(holds(slope) && holds(slope / n))) continue;
        compare(fmt::format("gradient {} of {} to {}", upstream, x[i], n),
                bound(x[i], slope * upstream), dx[i], slope * upstream);
      }
    }
  }
}
