#define BOOST_TEST_MODULE softmax
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/samples.h>

#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// y = f along one axis, in f64; f changes a row in place.
template <class F>
std::vector<double> along(const Tensor& x, int axis, F f) {
  std::vector<double> y = x.to_vector<double>();
  int64_t inner = 1;
  for (int i = axis + 1; i < x.ndim(); ++i) inner *= x.size(i);
  const int64_t n = x.size(axis);
  for (int64_t k = 0; k < x.numel() / n; ++k) {
    std::vector<long double> row;
    const auto at = [&](int64_t i) {
      return static_cast<size_t>((k / inner * n + i) * inner + k % inner);
    };
    for (int64_t i = 0; i < n; ++i) row.push_back(y[at(i)]);
    f(row);
    for (int64_t i = 0; i < n; ++i) y[at(i)] = static_cast<double>(row[static_cast<size_t>(i)]);
  }
  return y;
}

long double log_sum(const std::vector<long double>& row) {
  long double total = 0;
  for (long double x : row) total += std::exp(x);
  return std::log(total);
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_are_the_definition) {
  const std::pair<Shape, int> cases[] = {{{3, 5}, 1}, {{3, 5}, 0},  {{7}, 0},   {{2, 3, 4}, 1},
                                         {{5, 1}, 1}, {{2, 70}, 1}, {{0, 4}, 1}};
  for (const auto& [shape, axis] : cases)
    for (DType dtype : {DType::f32, DType::f64}) {
      const Tensor x = raw::cast(sample(shape, 1, -6, 6), dtype);
      const double tolerance = dtype == DType::f32 ? 1e-6 : 1e-14;
      const std::string what = str(shape) + " " + std::to_string(axis) + name(dtype);
      check_close("softmax " + what, softmax(x, axis),
                  along(x, axis,
                        [](auto& row) {
                          const long double total = log_sum(row);
                          for (auto& v : row) v = std::exp(v - total);
                        }),
                  tolerance);
      const auto log_p = along(x, axis, [](auto& row) {
        const long double total = log_sum(row);
        for (auto& v : row) v -= total;
      });
      check_close("log_softmax " + what, log_softmax(x, axis - x.ndim()), log_p, tolerance);
      const auto total = along(x, axis, [](auto& row) {
        const long double sum = log_sum(row);
        for (auto& v : row) v = sum;
      });
      const Tensor kept = logsumexp(x, axis, true), dropped = logsumexp(x, axis);
      check_close("logsumexp " + what, raw::clone(raw::expand(kept, shape)), total, tolerance);
      BOOST_TEST(str(dropped.shape()) == str(shape.erased(axis)));
      BOOST_TEST(dropped.to_vector<double>() == kept.to_vector<double>());
    }
}

BOOST_AUTO_TEST_CASE(large_and_infinite_values) {
  const Tensor x = Tensor::of({{1000, 1000, -kInf, 999}, {-1000, -1001, -1002, -1003}}, DType::f64);
  const double e = std::exp(-1.0), third = 1 + e + e * e + e * e * e;
  check_close("softmax", softmax(x),
              {1 / (2 + e), 1 / (2 + e), 0, e / (2 + e), 1 / third, e / third, e * e / third,
               e * e * e / third},
              1e-14);
  const auto sums = logsumexp(x).to_vector<double>();
  BOOST_TEST(sums[0] == 1000 + std::log(2 + e), boost::test_tools::tolerance(1e-15));
  BOOST_TEST(log_softmax(x).at({0, 2}) == -kInf);
  // What has no weight has no gradient.
  Tensor leaf = raw::clone(x).set_requires_grad();
  Tape tape;
  const Tensor u = sample({2, 4}, 3).set_requires_grad(false);
  const Tensor dx = tape.gradient(sum(softmax(leaf) * u), leaf);
  BOOST_TEST(dx.at({0, 2}) == 0.0);
}

// The gradient of softmax sums to 0 along the axis, that of logsumexp is softmax.
BOOST_AUTO_TEST_CASE(gradients_have_the_known_form) {
  Tensor x = sample({3, 4}, 1);
  Tape tape;
  const Tensor u = sample({3, 4}, 3).set_requires_grad(false);
  const Tensor dx = tape.gradient(sum(softmax(x) * u), x);
  for (double total : sum(dx, {1}).to_vector<double>()) BOOST_TEST(std::abs(total) < 1e-15);
  const Tensor dl = tape.gradient(sum(logsumexp(x)), x);
  check_close("logsumexp'", dl, softmax(x).to_vector<double>(), 1e-15);
}

// As attention's without keys, whose backward goes through them.
BOOST_AUTO_TEST_CASE(of_no_elements) {
  const Tensor x = zeros({3, 0}).set_requires_grad();
  Tape tape;
  for (const Tensor& y : {softmax(x), log_softmax(x), softmax(x, 0)}) {
    BOOST_TEST((y.shape() == Shape{3, 0}));
    const Tensor dx = tape.gradient(sum(y), x, CreateGraph::yes);
    BOOST_TEST((dx.shape() == Shape{3, 0}));
  }
}

BOOST_AUTO_TEST_CASE(bad_input) {
  BOOST_CHECK_EXCEPTION(softmax(zeros({3, 4}), 2), Error, says("softmax"));
  BOOST_CHECK_EXCEPTION(logsumexp(zeros({3, 0})), Error,
                        says("logsumexp: of no elements, shape (3, 0)"));
  BOOST_CHECK_EXCEPTION(logsumexp(zeros({3, 4}, DType::i64)), Error, says("logsumexp: needs f32"));
  BOOST_CHECK_EXCEPTION(softmax_backward(zeros({3, 4}), zeros({4, 3})), Error,
                        says("y (3, 4) and dy (4, 3)"));
}
