#define BOOST_TEST_MODULE special_values
#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/samples.h>

#include <limits>
#include <optional>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();
using Values = std::vector<double>;

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

void check_same(const std::string& what, const Tensor& y, const Values& expected) {
  const Values values = y.to_vector<double>();
  BOOST_TEST_REQUIRE(values.size() == expected.size(), what);
  for (size_t i = 0; i < values.size(); ++i)
    BOOST_TEST(same(values[i], expected[i]),
               what << "[" << i << "]: " << values[i] << ", not " << expected[i]);
}

}  // namespace

// y and dx for a dy of 1 at these, as PyTorch 2.13 has them.
BOOST_AUTO_TEST_CASE(numbers_and_powers) {
  const Tensor at = Tensor::of({-kInf, -1, -0.0, 0, 1, kInf, kNan}, DType::f64);
  const struct {
    const char* what;
    Function f;
    Values y, dx;
  } cases[] = {
      {"x^0", [](const Tensor& x) { return pow(x, 0); }, {1, 1, 1, 1, 1, 1, 1}, Values(7, 0.0)},
      {"x^1",
       [](const Tensor& x) { return pow(x, 1); },
       {-kInf, -1, -0.0, 0, 1, kInf, kNan},
       Values(7, 1.0)},
      {"x^2",
       [](const Tensor& x) { return pow(x, 2); },
       {kInf, 1, 0, 0, 1, kInf, kNan},
       {-kInf, -2, -0.0, 0, 2, kInf, kNan}},
      {"x^3",
       [](const Tensor& x) { return pow(x, 3); },
       {-kInf, -1, -0.0, 0, 1, kInf, kNan},
       {kInf, 3, 0, 0, 3, kInf, kNan}},
      {"x^4",
       [](const Tensor& x) { return pow(x, 4); },
       {kInf, 1, 0, 0, 1, kInf, kNan},
       {-kInf, -4, -0.0, 0, 4, kInf, kNan}},
      {"x^5",
       [](const Tensor& x) { return pow(x, 5); },
       {-kInf, -1, -0.0, 0, 1, kInf, kNan},
       {kInf, 5, 0, 0, 5, kInf, kNan}},
      {"x^0.5",
       [](const Tensor& x) { return pow(x, 0.5); },
       {kNan, kNan, -0.0, 0, 1, kInf, kNan},
       {kNan, kNan, -kInf, kInf, 0.5, 0, kNan}},
      {"rsqrt",
       [](const Tensor& x) { return pow(x, -0.5); },
       {kNan, kNan, -kInf, kInf, 1, 0, kNan},
       {kNan, kNan, kInf, -kInf, -0.5, -0.0, kNan}},
      {"x^-1",
       [](const Tensor& x) { return pow(x, -1); },
       {-0.0, -1, -kInf, kInf, 1, 0, kNan},
       {-0.0, -1, -kInf, -kInf, -1, -0.0, kNan}},
      {"x^-2",
       [](const Tensor& x) { return pow(x, -2); },
       {0, 1, kInf, kInf, 1, 0, kNan},
       {0, 2, kInf, -kInf, -2, -0.0, kNan}},
      {"x^-3",
       [](const Tensor& x) { return pow(x, -3); },
       {-0.0, -1, -kInf, kInf, 1, 0, kNan},
       {-0.0, -3, -kInf, -kInf, -3, -0.0, kNan}},
      {"2 / x",
       [](const Tensor& x) { return 2 / x; },
       {-0.0, -2, -kInf, kInf, 2, 0, kNan},
       {-0.0, -2, -kInf, -kInf, -2, -0.0, kNan}},
      {"0 / x",
       [](const Tensor& x) { return 0 / x; },
       {-0.0, -0.0, kNan, kNan, 0, 0, kNan},
       {-0.0, -0.0, kNan, kNan, -0.0, -0.0, kNan}},
      {"1 - x",
       [](const Tensor& x) { return 1 - x; },
       {kInf, 2, 1, 1, 0, -kInf, kNan},
       Values(7, -1.0)},
      {"-x",
       [](const Tensor& x) { return -x; },
       {kInf, 1, 0, -0.0, -1, -kInf, kNan},
       Values(7, -1.0)},
      {"3 x + 1",
       [](const Tensor& x) { return affine(x, 3, 1); },
       {-kInf, -2, 1, 1, 4, kInf, kNan},
       Values(7, 3.0)},
  };
  for (const auto& c : cases)
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = raw::cast(at, dtype).set_requires_grad();
      Tape tape;
      const Tensor y = c.f(std::span(&x, 1));
      BOOST_TEST(tape.size() == 2, c.what << " is one op");
      check_same(c.what, y, c.y);
      check_same(std::string(c.what) + "'", tape.gradient(sum(y), x), c.dx);
    }
}

BOOST_AUTO_TEST_CASE(division_divides_and_powers_are_products) {
  const Tensor x = sample({1000}, 1, 0.01, 30);
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor v = raw::cast(x, dtype);
    const Values at = v.to_vector<double>(), quotient = (3 / v).to_vector<double>();
    const auto rounded = [&](double y) { return dtype == DType::f32 ? double(float(y)) : y; };
    for (size_t i = 0; i < at.size(); ++i) BOOST_TEST_REQUIRE(quotient[i] == rounded(3 / at[i]));
    for (double c : {0.0, 1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 4.0, 7.0, -5.0, 1.7, 11.0}) {
      const Values y = pow(v, c).to_vector<double>();
      const double tolerance = 8 * (dtype == DType::f32 ? 0x1p-23 : 0x1p-52);
      for (size_t i = 0; i < at.size(); ++i)
        BOOST_TEST_REQUIRE(std::abs(y[i] - std::pow(at[i], c)) <= tolerance * std::pow(at[i], c),
                           c << " " << at[i]);
    }
  }
}

namespace {

/// The values of f and of its first `orders` derivatives at a single x.
Values derivatives(const Function& f, double x, int orders) {
  const Tensor at = full({}, x, DType::f64).set_requires_grad();
  Tape tape;
  Tensor y = f(std::span(&at, 1));
  Values all{y.item()};
  for (int k = 0; k < orders; ++k) {
    y = tape.gradient(y, at, {.create_graph = CreateGraph::yes, .allow_unused = true});
    if (!y) y = zeros({}, DType::f64);
    all.push_back(y.item());
  }
  return all;
}

const Values kCoefficients = {5, 4, 3, 2, 1};

Tensor polynomial(const Tensor& x, const Tensor& exponents) {
  return sum(Tensor::from(kCoefficients, {5}) * pow(x, exponents));
}

}  // namespace

// sum c_k x^k at 0: k! c_k, and its derivatives along a direction.
BOOST_AUTO_TEST_CASE(polynomials_at_0) {
  const Values expected = {5, 4, 6, 12, 24, 0};
  const Tensor exponents = Tensor::of({0, 1, 2, 3, 4}, DType::f64);
  const Function constant = [&](const Tensor& x) { return polynomial(x, exponents); };
  const Function variable = [&](const Tensor& x) {
    return polynomial(x, raw::clone(exponents).set_requires_grad());
  };
  const Function numbers = [](const Tensor& x) {
    Tensor y = zeros({}, DType::f64);
    for (size_t k = 0; k < kCoefficients.size(); ++k)
      y = y + kCoefficients[k] * pow(x, static_cast<double>(k));
    return y;
  };
  for (const Function& f : {constant, variable, numbers})
    for (double zero : {0.0, -0.0}) BOOST_TEST(derivatives(f, zero, 5) == expected);
  const Tensor x = zeros({}, DType::f64), v = full({}, 2, DType::f64);
  for (const Function& f : {constant, numbers}) {
    const Function slope = [&](const Tensor& at) { return jvp(f, at, v); };
    BOOST_TEST(slope(std::span(&x, 1)).item() == 8);
    BOOST_TEST(jvp(slope, x, v).item() == 24);
    BOOST_TEST(hessian(f, x).item() == 6);
  }
}

// All second derivatives of a^b, also with respect to both.
BOOST_AUTO_TEST_CASE(powers_of_tensors) {
  const Tensor a = Tensor::of({0, 0, 0, 2, 2}, DType::f64).set_requires_grad(),
               b = Tensor::of({0, 0.5, 2, 0, 3}, DType::f64).set_requires_grad();
  Tape tape;
  const Tensor y = pow(a, b);
  const auto d = tape.gradient(sum(y), {a, b}, {.create_graph = CreateGraph::yes});
  check_same("da", d[0], {0, kInf, 0, 0, 12});
  const double log2 = std::log(2.0);
  test::check_close("db", d[1], {0, 0, 0, log2, 8 * log2}, 1e-15);
  const SweepOptions again{.keep_graph = true};
  test::check_close("dbb", tape.gradient(sum(d[1]), b, again),
                    {0, 0, 0, log2 * log2, 8 * log2 * log2}, 1e-15);
  test::check_close("dab", slice(tape.gradient(sum(d[0]), b, again), 0, 2, 5),
                    {0, 0.5, 4 + 12 * log2}, 1e-15);
  test::check_close("dba", tape.gradient(sum(d[1]), a, again), {0, 0, 0, 0.5, 4 + 12 * log2},
                    1e-15);
}

// Rows of -inf, of inf and of NaN, as PyTorch 2.13 has them.
BOOST_AUTO_TEST_CASE(rows_that_are_not_finite) {
  const Tensor at = Tensor::of({{-kInf, -kInf, -kInf},
                                {kInf, 1, 2},
                                {kInf, kInf, 1},
                                {kNan, 1, 2},
                                {kInf, -kInf, 0},
                                {kNan, kInf, 1}},
                               DType::f64);
  for (DType dtype : {DType::f32, DType::f64})
    for (bool turned : {false, true}) {
      const int64_t axis = turned ? 0 : 1;
      const Tensor base = raw::cast(at, dtype);
      Tensor x = raw::clone(turned ? transpose(base) : base);
      x.set_requires_grad();
      const auto rows = [&](const Tensor& t) { return turned ? raw::clone(transpose(t)) : t; };
      Tape tape;
      const SweepOptions keep{.keep_graph = true};
      check_same("softmax", softmax(x, axis), Values(18, kNan));
      check_same("log_softmax", log_softmax(x, axis), Values(18, kNan));
      check_same("softmax'", tape.gradient(sum(softmax(x, axis)), x), Values(18, kNan));
      check_same("log_softmax'", tape.gradient(sum(log_softmax(x, axis)), x), Values(18, kNan));
      const Tensor y = logsumexp(x, axis);
      check_same("logsumexp", y, {-kInf, kInf, kInf, kNan, kInf, kNan});
      check_same("logsumexp'", rows(tape.gradient(sum(y), x)),
                 {kNan, kNan, kNan, kNan, 0, 0, kNan, kNan, 0, kNan, kNan, kNan, kNan, 0, 0, kNan,
                  kNan, kNan});
      if (turned) continue;
      const Tensor labels = Tensor::of({1, 1, 1, 1, 1, 1}, DType::i64);
      for (double smoothing : {0.0, 0.1}) {
        const Tensor losses =
            cross_entropy(x, labels, {.label_smoothing = smoothing, .reduction = Reduction::none});
        check_same("cross_entropy", losses, Values(6, kNan));
        check_same("cross_entropy'", tape.gradient(sum(losses), x), Values(18, kNan));
      }
    }
}

// What depends on nothing has derivatives of 0, or none; no error says that it was not recorded.
BOOST_AUTO_TEST_CASE(constants) {
  const Tensor x = sample({3}, 1), v = sample({3}, 2).set_requires_grad(false);
  {
    Tape tape;
    const SweepOptions unused{.allow_unused = true};
    BOOST_TEST(!tape.gradient(sum(sign(x)), x, unused));
    BOOST_TEST(!tape.gradient(ones({}, DType::f64), x, unused));
    const auto both = tape.gradient(sum(step(x)), {x, v}, unused);
    BOOST_TEST((both.size() == 2 && !both[0] && !both[1]));
    BOOST_CHECK_EXCEPTION(tape.gradient(sum(sign(x)), x), Error,
                          says("through functions without one (sign"));
  }
  const Function f = [](const Tensor&in) { return sign(in); },
                 fixed = [](const Tensor&) { return ones({2}, DType::f64); },
                 zeroth = [](const Tensor&in) { return pow(in, 0); };
  for (bool recording : {false, true}) {
    std::optional<Tape> tape;
    if (recording) tape.emplace();
    for (const Function& g : {f, fixed, zeroth}) {
      const Tensor y = g(std::span(&x, 1));
      const Function total = [&](const Tensor& in) { return sum(g(std::span(&in, 1))); };
      check_same("jacobian", jacobian(g, x), Values(static_cast<size_t>(3 * y.numel()), 0.0));
      check_same("vjp", vjp(g, x, ones_like(y)), Values(3, 0.0));
      check_same("jvp", jvp(g, x, v), Values(static_cast<size_t>(y.numel()), 0.0));
      check_same("hvp", hvp(total, x, v), Values(3, 0.0));
      check_same("hessian", hessian(total, x), Values(9, 0.0));
    }
  }
  BOOST_CHECK_EXCEPTION(jacobian([](const Tensor& in) { return argmax(in); }, x), Error,
                        says("i64 has no derivative"));
}
