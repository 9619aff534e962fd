#define BOOST_TEST_MODULE math
#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/kernels/elementwise/functors.h>
#include <gradus/kernels/runtime/isa.h>

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;

namespace {

/// The distance of y from the exact value in units in the last place of a float of its size.
double ulps(float y, double exact) {
  constexpr double largest = std::numeric_limits<float>::max();
  if (std::isnan(exact)) return std::isnan(y) ? 0 : HUGE_VAL;
  if (std::isinf(y))
    return std::signbit(y) == std::signbit(exact) && std::abs(exact) > largest ? 0 : HUGE_VAL;
  int exponent;
  std::frexp(exact, &exponent);
  return std::abs(y - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

struct Worst {
  double error;
  float at;
};

/// Over every 101st float there is, and the ends; `exact` is evaluated in f64.
template <class F, class Exact>
Worst worst(Isa isa, F, Exact exact) {
  constexpr int64_t block = 4096;
  constexpr int index = functions::index_of<F>(functions::Unary{});
  const auto kernel = table_for<ElementwiseKernels<float>>(isa).unary[index];
  const F f;
  std::vector<float> x(block), y(block);
  Worst result{0, 0};
  const auto try_block = [&] {
    kernel(&f, block, x.data(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(y[i], exact(static_cast<double>(x[i])));
      if (error > result.error) result = {error, x[i]};
    }
  };
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += block * 101) {
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(bits + i * 101));
    try_block();
  }
  constexpr float special[] = {0.0f,
                               0x1p-149f,
                               0x1p-126f,
                               0x1.fffffep-127f,
                               0.5f,
                               1.0f,
                               88.72284f,
                               88.72283f,
                               104.0f,
                               0x1.fffffep127f,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  for (size_t i = 0; i < x.size(); ++i) {
    const float value = special[i / 2 % std::size(special)];
    x[i] = i % 2 == 0 ? value : -value;
  }
  try_block();
  return result;
}

template <class F, class Exact>
void expect_within(double limit, F f, Exact exact) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    const Worst found = worst(isa, f, exact);
    BOOST_TEST(found.error <= limit,
               F::name << " " << name(isa) << ": " << found.error << " ULP at " << found.at);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(exp_) {
  expect_within(1, functions::Exp{}, [](double x) { return std::exp(x); });
}
BOOST_AUTO_TEST_CASE(log_) {
  expect_within(1, functions::Log{}, [](double x) { return std::log(x); });
}
BOOST_AUTO_TEST_CASE(expm1_) {
  expect_within(1.5, functions::Expm1{}, [](double x) { return std::expm1(x); });
}
BOOST_AUTO_TEST_CASE(tanh_) {
  expect_within(1.5, functions::Tanh{}, [](double x) { return std::tanh(x); });
}
BOOST_AUTO_TEST_CASE(erf_) {
  expect_within(1.5, functions::Erf{}, [](double x) { return std::erf(x); });
}
// Relative to x Phi(x) where 1 + erf would have cancelled, down to the denormals.
BOOST_AUTO_TEST_CASE(gelu_) {
  expect_within(12, functions::GeluErf{},
                [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); });
}
BOOST_AUTO_TEST_CASE(gauss_) {
  double error = 0;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 1009) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    error = std::max(error, ulps(math::gauss(x), std::exp(-0.5 * (double{x} * x))));
  }
  BOOST_TEST(error <= 1);
}
BOOST_AUTO_TEST_CASE(sin_) {
  expect_within(1, functions::Sin{}, [](double x) { return std::sin(x); });
}
BOOST_AUTO_TEST_CASE(cos_) {
  expect_within(1, functions::Cos{}, [](double x) { return std::cos(x); });
}
BOOST_AUTO_TEST_CASE(sigmoid_) {
  expect_within(2, functions::Sigmoid{}, [](double x) { return 1 / (1 + std::exp(-x)); });
}
// log1p through the function that uses it, which adds a rounding of its own.
BOOST_AUTO_TEST_CASE(softplus_) {
  expect_within(2, functions::Softplus{}, [](double x) {
    return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))) + (x - x == 0 || x == x ? 0 : x);
  });
}
BOOST_AUTO_TEST_CASE(log1p_) {
  double error = 0;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 1009) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    error = std::max(error, ulps(math::log1p(x), std::log1p(static_cast<double>(x))));
  }
  BOOST_TEST(error <= 1);
}

BOOST_AUTO_TEST_CASE(signs_of_zero_and_ends) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  BOOST_TEST(std::signbit(math::tanh(-0.0f)));
  BOOST_TEST(std::signbit(math::erf(-0.0f)));
  BOOST_TEST(std::signbit(math::sin(-0.0f)));
  BOOST_TEST(math::exp(-infinity) == 0);
  BOOST_TEST(math::tanh(infinity) == 1);
  BOOST_TEST(math::erf(-infinity) == -1);
  BOOST_TEST(math::sigmoid(-infinity) == 0);
  BOOST_TEST(math::log(0.0f) == -infinity);
  BOOST_TEST(std::isnan(math::log(-1.0f)));
  BOOST_TEST(std::isnan(math::sin(infinity)));
}
