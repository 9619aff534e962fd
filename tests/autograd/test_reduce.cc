#define BOOST_TEST_MODULE reduce
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/samples.h>

#include <cmath>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Numbers = std::vector<double>;

namespace {

Numbers gradient(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  Tensor leaf = raw::clone(x).set_requires_grad();
  Tape tape;
  return tape.gradient(sum(f(leaf)), leaf).to_vector<double>();
}

const double kInf = std::numeric_limits<double>::infinity();

}  // namespace

// The gradient is the product of the others, also where one or two of them are 0; its gradient, of
// pairs, that of all but two.
BOOST_AUTO_TEST_CASE(products_where_factors_are_0) {
  const auto all = [](const Tensor& v) { return prod(v); };
  BOOST_TEST(gradient(Tensor::of({2, 0, 3}), all) == (Numbers{0, 6, 0}));
  BOOST_TEST(gradient(Tensor::of({0, 0, 3}), all) == (Numbers{0, 0, 0}));
  const Tensor x = Tensor::of({0, 0, 3, 5, 7}, DType::f64).set_requires_grad();
  Tape tape;
  const Tensor first = tape.gradient(prod(x), x, CreateGraph::yes);
  BOOST_TEST(tape.gradient(sum(first), x).to_vector<double>() == (Numbers{105, 105, 0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(products_that_leave_the_range_on_the_way) {
  const Tensor x = Tensor::of({1e30, 1e30, 1e-30, 1e-30, 2});
  BOOST_TEST(prod(x).item() == 2.0, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(gradient(x, [](const Tensor& v) { return prod(v); })[4] == 1.0,
             boost::test_tools::tolerance(1e-6));
  BOOST_TEST(prod(ones({3, 0}), {1}).to_vector<double>() == (Numbers{1, 1, 1}));
}

// y = sqrt(var) has no slope where all are equal: 0, as in PyTorch; and none overflows.
BOOST_AUTO_TEST_CASE(standard_deviations) {
  const Tensor x = Tensor::of({{1, 2, 4}, {3, 3, 3}});
  const auto rows = [](const Tensor& v) { return stddev(v, {1}); };
  BOOST_TEST(rows(x).at({0}) == std::sqrt(7.0 / 3), boost::test_tools::tolerance(1e-7));
  BOOST_TEST(rows(x).at({1}) == 0);
  const Numbers dx = gradient(x, rows);
  for (size_t i = 3; i < 6; ++i) BOOST_TEST(dx[i] == 0);
  BOOST_TEST(dx[0] != 0);
  for (double scale : {1e25, 1e-25, 1e-38}) {
    const Tensor y = rows(x * scale);
    BOOST_TEST(y.at({0}) / scale == std::sqrt(7.0 / 3), boost::test_tools::tolerance(1e-6));
    const Numbers d = gradient(x * scale, rows);
    for (size_t i = 0; i < 6; ++i)
      BOOST_TEST(std::abs(d[i] - dx[i]) < 1e-6, "element " << i << " times " << scale);
  }
  BOOST_TEST(stddev(x, {}, false, 0).item() == std::sqrt(48.0 / 6 - 64.0 / 9),
             boost::test_tools::tolerance(1e-6));
  BOOST_CHECK_EXCEPTION(stddev(ones({1})), Error, says("var: groups of 1 elements"));
}

BOOST_AUTO_TEST_CASE(norms) {
  const Tensor x = Tensor::of({{3, -4, 0}, {0, 0, 0}}, DType::f64);
  const auto of = [](double p) { return [p](const Tensor& v) { return norm(v, p, {1}); }; };
  BOOST_TEST(of(2)(x).to_vector<double>() == (Numbers{5, 0}));
  BOOST_TEST(of(1)(x).to_vector<double>() == (Numbers{7, 0}));
  BOOST_TEST(of(0)(x).to_vector<double>() == (Numbers{2, 0}));
  BOOST_TEST(of(kInf)(x).to_vector<double>() == (Numbers{4, 0}));
  BOOST_TEST(of(3)(x).at({0}) == std::cbrt(91.0), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(of(0.5)(x).at({0}) == std::pow(std::sqrt(3.0) + 2, 2),
             boost::test_tools::tolerance(1e-14));
  for (double p : {0.5, 1.0, 1.5, 2.0, 3.0}) {
    const Numbers dx = gradient(x, of(p));
    for (size_t i = 2; i < 6; ++i) BOOST_TEST(dx[i] == 0, p << ", element " << i);
    const double y = of(p)(x).at({0});
    BOOST_TEST(dx[1] == -std::pow(4 / y, p - 1), boost::test_tools::tolerance(1e-13));
  }
  BOOST_TEST(norm(x).item() == 5.0);
  BOOST_TEST(str(norm(x, 2, {0}, true).shape()) == "(1, 3)");
  BOOST_TEST(norm(zeros({0})).item() == 0.0);
  BOOST_CHECK_EXCEPTION(norm(x, -1), Error, says("norm: p is -1"));
  BOOST_CHECK_EXCEPTION(norm(arange(3)), Error, says("norm: needs f32 or f64, got i64; cast"));
}

BOOST_AUTO_TEST_CASE(norms_at_the_ends_of_the_range) {
  const auto walk = [](DType dtype, std::initializer_list<double> scales, double tolerance) {
    for (double scale : scales)
      for (double p : {1.5, 2.0, 3.0, 30.0}) {
        const Tensor x = mul(Tensor::of({3, -4, 0.5}, dtype), scale);
        const auto f = [p](const Tensor& v) { return norm(v, p); };
        const double size = std::pow(std::pow(3, p) + std::pow(4, p) + std::pow(0.5, p), 1 / p);
        BOOST_TEST(f(x).item() / scale == size, boost::test_tools::tolerance(tolerance));
        BOOST_TEST(gradient(x, f)[1] == -std::pow(4 / size, p - 1),
                   boost::test_tools::tolerance(4 * tolerance));
      }
  };
  walk(DType::f32, {1, 1e20, 1e-20, 1e37, 1e-37}, 1e-6);
  walk(DType::f64, {1, 1e160, 1e-160, 1e300, 1e-300}, 1e-14);
}

BOOST_AUTO_TEST_CASE(second_order) {
  const auto check_both = [](const std::function<Tensor(const Tensor&)>& f) {
    BOOST_TEST(gradcheck(f, {sample({3, 4}, 1)}).ok());
    BOOST_TEST(gradgradcheck(f, {sample({3, 4}, 1)}).ok());
  };
  for (double p : {1.0, 1.5, 2.0, 3.0, kInf})
    check_both([p](const Tensor& x) { return norm(x, p, {1}); });
  check_both([](const Tensor& x) { return stddev(x, {0}); });
  check_both([](const Tensor& x) { return prod(x, {1}); });
  check_both([](const Tensor& x) { return logsumexp(x, Axes{0, 1}); });
}

// f32 is added up in f64: 1 + 2^-25 + .. + 2^-25 comes to more than 1.
BOOST_AUTO_TEST_CASE(scans) {
  const Tensor x = Tensor::of({{1, 2, 3}, {10, 20, 30}});
  BOOST_TEST(cumsum(x, 1).to_vector<double>() == (Numbers{1, 3, 6, 10, 30, 60}));
  BOOST_TEST(cumsum(x, -2).to_vector<double>() == (Numbers{1, 2, 3, 11, 22, 33}));
  BOOST_TEST(cumsum(transpose(x), 0).to_vector<double>() == (Numbers{1, 10, 3, 30, 6, 60}));
  BOOST_TEST(gradient(x, [](const Tensor& v) { return cumsum(v, 1); }) ==
             (Numbers{3, 2, 1, 3, 2, 1}));
  Tensor small = full({257}, 0x1p-25);
  small.mutable_data<float>()[0] = 1;
  BOOST_TEST(cumsum(small, 0).at({256}) == 1 + 0x1p-17);
  BOOST_TEST(str(cumsum(zeros({3, 0}), 1).shape()) == "(3, 0)");
}

BOOST_AUTO_TEST_CASE(any_and_all_along_axes) {
  const Tensor a = Tensor::of({{1, 0, 0}, {1, 1, 0}}, DType::boolean);
  BOOST_TEST(any(a, {0}).to_vector<bool>() == (std::vector<bool>{true, true, false}));
  BOOST_TEST(all(a, {0}).to_vector<bool>() == (std::vector<bool>{true, false, false}));
  BOOST_TEST(all(a, {0, 1}, true).to_vector<bool>() == std::vector<bool>{false});
  BOOST_TEST(str(any(a, {1}, true).shape()) == "(2, 1)");
  const Tensor none = zeros({2, 0}, DType::boolean);
  BOOST_TEST(any(none, {1}).to_vector<bool>() == (std::vector<bool>{false, false}));
  BOOST_TEST(all(none, {1}).to_vector<bool>() == (std::vector<bool>{true, true}));
  BOOST_CHECK_EXCEPTION(any(ones({2}), {0}), Error, says("any: needs bool, got f32"));
  BOOST_CHECK_EXCEPTION(all(ones({2}), {0}), Error, says("all: needs bool, got f32"));
}

BOOST_AUTO_TEST_CASE(logsumexp_over_several_axes) {
  const Tensor x = sample({3, 4, 2}, 1);
  const Tensor y = logsumexp(x, Axes{0, 2}, true);
  BOOST_TEST(str(y.shape()) == "(1, 4, 1)");
  for (int64_t j = 0; j < 4; ++j) {
    double total = 0;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t k = 0; k < 2; ++k) total += std::exp(x.at({i, j, k}));
    BOOST_TEST(y.at({0, j, 0}) == std::log(total), boost::test_tools::tolerance(1e-14));
  }
  BOOST_TEST(str(logsumexp(x, Axes()).shape()) == "()");
}
