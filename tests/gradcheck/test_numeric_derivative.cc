#define BOOST_TEST_MODULE numeric_derivative
#include <gradus/gradcheck/detail/numeric_derivative.h>
#include <gradus/tensor/random.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace gradus;
using namespace gradus::checking;

namespace {

using Scalar = std::function<double(double)>;

/// x -> f(centre + x), as a line of one function.
Line line_of(const Scalar& f, double centre) {
  return [f, centre](double h, std::span<double> y) {
    y[0] = f(centre + h);
    return std::isfinite(y[0]);
  };
}

std::vector<double> noise_of(const Line& line) {
  std::vector<std::vector<double>> points(kNoisePoints, std::vector<double>(1));
  for (int k = 0; k < kNoisePoints; ++k) line(0.77 * k * 0x1p-34, points[static_cast<size_t>(k)]);
  return rounding_noise(points);
}

struct Result {
  double value, bound;
  bool kink;
  int evaluations;
};

Result derivative(const Scalar& f, double x, const RiddersOptions& options = {}) {
  const Line line = line_of(f, x);
  const double at_0[] = {f(x)};
  Ridders ridders;
  const Derivatives& d = ridders(line, at_0, noise_of(line), options);
  return {d.value[0], d.bound[0], d.kink[0] != 0, d.evaluations};
}

struct Known {
  const char* what;
  Scalar f, slope;
  double low, high;
};

const Known kKnown[] = {
    {"exp", [](double x) { return std::exp(x); }, [](double x) { return std::exp(x); }, -3, 3},
    {"sin", [](double x) { return std::sin(x); }, [](double x) { return std::cos(x); }, -5, 5},
    {"1/x", [](double x) { return 1 / x; }, [](double x) { return -1 / (x * x); }, 0.05, 2},
    {"log", [](double x) { return std::log(x); }, [](double x) { return 1 / x; }, 1e-4, 2},
    {"sin 40x", [](double x) { return std::sin(40 * x); },
     [](double x) { return 40 * std::cos(40 * x); }, -1, 1},
    {"tanh 200x", [](double x) { return std::tanh(200 * x); },
     [](double x) { return 200 / std::pow(std::cosh(200 * x), 2); }, -0.02, 0.02},
    {"1000 + x^3", [](double x) { return 1000 + x * x * x; }, [](double x) { return 3 * x * x; },
     -2, 2},
    {"sqrt(x^2 + 1e-6)", [](double x) { return std::sqrt(x * x + 1e-6); },
     [](double x) { return x / std::sqrt(x * x + 1e-6); }, -0.01, 0.01},
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_bound_holds_and_is_narrow) {
  for (const Known& known : kKnown) {
    Generator generator(1, known.what);
    int beyond = 0, far_beyond = 0, wide = 0;
    constexpr int kPoints = 2000;
    for (int i = 0; i < kPoints; ++i) {
      const double x = known.low + (known.high - known.low) * generator.uniform();
      const Result d = derivative(known.f, x);
      const double exact = known.slope(x), error = std::abs(d.value - exact);
      BOOST_TEST(!d.kink, known.what << " at " << x);
      beyond += error > d.bound + 1e-14 * std::abs(exact);
      far_beyond += error > 4 * d.bound + 1e-14 * std::abs(exact);
      wide += d.bound > 1e-7 * std::max(std::abs(exact), 1e-2);
    }
    // Now and then extrapolations meet by chance; the checker asks again before it complains.
    BOOST_TEST(beyond <= kPoints / 100, known.what << ": " << beyond);
    BOOST_TEST(far_beyond <= kPoints / 1000, known.what << ": " << far_beyond);
    BOOST_TEST(wide <= kPoints / 20, known.what << ": " << wide);
  }
}

BOOST_AUTO_TEST_CASE(evaluations_are_counted_and_few) {
  BOOST_TEST(derivative([](double x) { return 3 * x + 1; }, 0.7).evaluations == 4);
  BOOST_TEST(derivative([](double x) { return std::exp(x); }, 0.7).evaluations <= 8);
}

BOOST_AUTO_TEST_CASE(noise_is_seen) {
  // Sums of many terms round more than their result; f32 inside rounds a billion times more.
  const auto noise = [](const Scalar& f) { return noise_of(line_of(f, 0.3))[0]; };
  const double sum = noise([](double x) {
    double total = 0;
    for (int i = 0; i < 1000; ++i) total += std::sin(x + i) * 1e6;
    return total;
  });
  BOOST_TEST(sum > 1e-11);
  BOOST_TEST(sum < 1e-6);
  BOOST_TEST(noise([](double x) { return x * x; }) < 1e-15);
}

BOOST_AUTO_TEST_CASE(kinks_are_seen_and_seen_past) {
  const Scalar relu = [](double x) { return x > 0 ? x : 0; };
  BOOST_TEST(derivative(relu, 0).kink);
  for (double x : {1e-12, -1e-12, 1e-9, -1e-9}) {
    const Result d = derivative(relu, x);
    BOOST_TEST((d.kink || std::abs(d.value - (x > 0)) <= d.bound), x);
  }
  for (double x : {1e-5, -1e-5, 1e-3, -1e-3, 0.01, -0.01}) {
    const Result d = derivative(relu, x);
    BOOST_TEST(!d.kink, x);
    BOOST_TEST(std::abs(d.value - (x > 0)) <= 4 * d.bound);
    BOOST_TEST(d.bound < 1e-8);
  }
  BOOST_TEST(derivative([](double x) { return std::floor(x); }, 2).kink);
  BOOST_TEST(
      derivative([](double x) { return std::exp(x) + 1e-6 * std::abs(x); }, 0, {.least = 6}).kink);
}

BOOST_AUTO_TEST_CASE(steps_out_of_the_domain_are_passed_over) {
  const Result d = derivative([](double x) { return std::log(x); }, 1e-4);
  BOOST_TEST(std::abs(d.value - 1e4) <= 4 * d.bound);
  BOOST_TEST(std::isinf(derivative([](double x) { return std::sqrt(x); }, 0).bound));
}
