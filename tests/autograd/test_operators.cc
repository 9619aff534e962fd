#define BOOST_TEST_MODULE operators
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradus.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "tests/checks.h"

// What Python's users write first: operators, numbers beside tensors, products of vectors.
using namespace gradus;
using test::check_close;
using test::says;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class A, class B>
constexpr bool assigns = requires(A a, B b) {
  a += b;
}
|| requires(A a, B b) { a -= b; }
|| requires(A a, B b) { a *= b; }
|| requires(A a, B b) { a /= b; };

// A parameter would leave its module and its optimizer with another tensor.
static_assert(assigns<Tensor, Tensor> && assigns<Tensor, double> && assigns<Tensor, int> &&
              assigns<Tensor, Parameter>);
static_assert(!assigns<Parameter, Tensor> && !assigns<Parameter, double> &&
              !assigns<Parameter, int> && !assigns<Parameter, Parameter> &&
              !assigns<Buffer, Tensor> && !assigns<Buffer, float>);

Tensor doubles(std::initializer_list<double> values) { return Tensor::of(values, DType::f64); }

/// Checks the gradient of the sum of y.
void check_gradient(const Tensor& y, const Tensor& x, Tape& tape,
                    const std::vector<double>& expected) {
  const Tensor dx = tape.gradient(y, x, {.keep_graph = true, .dy = ones_like(y)});
  check_close("gradient", dx, expected, 1e-15);
}

}  // namespace

BOOST_AUTO_TEST_CASE(assignments_are_recorded_and_leave_others_alone) {
  const Tensor x = doubles({1, 2, 3}).set_requires_grad();
  Tape tape;
  Tensor y = x * 2;
  const Tensor before = y;
  y += x;    // 3x
  y *= y;    // 9x^2
  y -= 1;    // 9x^2 - 1
  y /= x;    // 9x - 1/x
  y *= 2.0;  // 18x - 2/x
  y += 1;
  y -= x;
  y /= 4;  // (17x - 2/x + 1) / 4
  check_close("y", y, {4, 8.5, (51 - 2.0 / 3 + 1) / 4}, 1e-15);
  check_close("what it was", before, {2, 4, 6}, 0);
  check_close("dx", tape.gradient(y, x, {.dy = ones_like(y)}),
              {(17 + 2.0) / 4, (17 + 0.5) / 4, (17 + 2.0 / 9) / 4}, 1e-15);
  Tensor grown = doubles({1});
  grown += x;
  BOOST_TEST((grown.shape() == Shape{3}));
}

BOOST_AUTO_TEST_CASE(masks) {
  const Tensor x = Tensor::of({1, 2, 3, 4}), low = x > 1, high = x > 3;
  BOOST_TEST(((low & ~high).to_vector<bool>() == std::vector{false, true, true, false}));
  BOOST_TEST(((~low | high).to_vector<bool>() == std::vector{true, false, false, true}));
  check_close("x broadcasts, too", masked_fill(x, ~(zeros({2, 1}) > 0), 5), std::vector(8, 5.0), 0);
  BOOST_CHECK_EXCEPTION(~x, Error, says("logical_not: needs bool, got f32"));
  // `!` and `&&` are about handles.
  BOOST_TEST(!Tensor());
  BOOST_TEST(!!high);
}

BOOST_AUTO_TEST_CASE(streams) {
  std::ostringstream out;
  const Parameter p(Shape{1}, Init::zeros());
  out << Tensor::of({1, 2.5}) << ' ' << Shape{3, 4} << ' ' << Axes(1) << ' ' << DType::i64 << ' '
      << p << ' ' << Tensor();
  BOOST_TEST(out.str() ==
             "tensor([1.0000, 2.5000], f32) (3, 4) (1,) i64 tensor([0.], f32) tensor()");
}

BOOST_AUTO_TEST_CASE(clone_is_recorded_and_detach_is_a_constant) {
  const Tensor x = doubles({1, 2}).set_requires_grad();
  Tape tape;
  const Tensor y = x * x, copy = clone(y), constant = detach(y), of_leaf = detach(x);
  BOOST_TEST(!copy.shares_storage(y));
  BOOST_TEST(constant.shares_storage(y));
  BOOST_TEST((!constant.is(y) && !needs_grad(constant) && !needs_grad(of_leaf)));
  BOOST_TEST((!of_leaf.requires_grad() && x.requires_grad()));
  check_close("through a clone", tape.gradient(copy * constant, x, {.dy = ones_like(y)}), {2, 16},
              0);  // 2x x^2
  const Tensor turned = transpose(Tensor::of({{1, 2}, {3, 4}}));
  BOOST_TEST((clone(turned).is_contiguous() && !detach(turned).is_contiguous()));
  BOOST_TEST((detach(turned).to_vector<int>() == std::vector{1, 3, 2, 4}));
}

// PyTorch's values and gradients, of the sums.
BOOST_AUTO_TEST_CASE(numbers_beside_tensors) {
  const Tensor x = doubles({-1, 0, 2, 3}).set_requires_grad();
  Tape tape;
  check_close("2^x", pow(2, x), {0.5, 1, 4, 8}, 1e-15);
  const double log2 = std::log(2.0);
  check_gradient(pow(2, x), x, tape, {0.5 * log2, log2, 4 * log2, 8 * log2});
  check_gradient(pow(0, x + 1), x, tape, {0, 0, 0, 0});
  check_close("max", maximum(x, 2), {2, 2, 2, 3}, 0);
  check_close("max", maximum(2, x), {2, 2, 2, 3}, 0);
  check_close("min", minimum(x, 2), {-1, 0, 2, 2}, 0);
  check_close("min", minimum(2.0, x), {-1, 0, 2, 2}, 0);
  check_gradient(maximum(x, 2), x, tape, {0, 0, 0.5, 1});
  check_gradient(minimum(2, x), x, tape, {1, 1, 0.5, 0});
  BOOST_TEST(std::isnan(maximum(x, kNaN).at({0})));
  const Tensor f32 = ones({1}), whole = arange(3);
  for (const auto& f : std::initializer_list<Tensor (*)(const Tensor&)>{
           [](const Tensor& v) { return maximum(v, 1e39); },
           [](const Tensor& v) { return minimum(1e39, v); },
           [](const Tensor& v) { return pow(1e39, v); }})
    BOOST_CHECK_EXCEPTION(f(f32), Error, says("1e+39 is no number of dtype f32"));
}

// torch.clamp's of 2.13; a NaN in x has a gradient here as it has where the bounds are numbers.
BOOST_AUTO_TEST_CASE(clamp_by_tensors) {
  const Tensor x = doubles({0, 1, 2, 3, 5}).set_requires_grad(),
               low = doubles({1, 1, 2, 1, 3}).set_requires_grad(),
               high = doubles({2, 2, 2, 2, 1}).set_requires_grad();
  Tape tape;
  const Tensor y = clamp(x, low, high);
  check_close("y", y, {1, 1, 2, 2, 1}, 0);
  check_gradient(y, x, tape, {0, 1, 1, 0, 0});
  check_gradient(y, low, tape, {1, 0, 0, 0, 0});
  check_gradient(y, high, tape, {0, 0, 0, 1, 1});
  check_close("one bound", clamp(x, low, Tensor()), {1, 1, 2, 3, 5}, 0);
  check_close("another", clamp(x, {}, doubles({2})), {0, 1, 2, 2, 2}, 0);
  check_close("numbers", clamp(x, 1, 2), {1, 1, 2, 2, 2}, 0);
  BOOST_TEST((clamp(x, zeros({2, 1}, DType::f64), Tensor()).shape() == Shape{2, 5}));
  const Tensor nan = doubles({kNaN, 1, 1}), bounds = doubles({1, kNaN, 1});
  for (const Tensor& z : {clamp(nan, bounds, Tensor()), clamp(nan, Tensor(), bounds)}) {
    BOOST_TEST((std::isnan(z.at({0})) && std::isnan(z.at({1}))));
    BOOST_TEST(z.at({2}) == 1);
  }
  BOOST_CHECK_EXCEPTION(clamp(x, ones({5}), Tensor()), Error, says("f64 and f32 do not mix"));
}

BOOST_AUTO_TEST_CASE(products_of_vectors) {
  const Tensor row = doubles({1, 2, 3}).set_requires_grad(), pair = doubles({1, -1}),
               m = Tensor::of({{1, 0, 2}, {3, 1, 0}}, DType::f64).set_requires_grad(),
               stack_of = stack({m, m * 2});  // (2, 2, 3)
  BOOST_TEST(matmul(row, row).item() == 14);
  BOOST_TEST(dot(row, row).item() == 14);
  check_close("matrix, vector", matmul(m, row), {7, 5}, 0);
  check_close("vector, matrix", matmul(pair, m), {-2, -1, 2}, 0);
  check_close("transposed", matmul(row, m, false, true), {7, 5}, 0);
  check_close("transposed", matmul(m, pair, true), {-2, -1, 2}, 0);
  const Tensor y = matmul(stack_of, row), z = matmul(pair, stack_of);
  check_close("matrices, vector", y, {7, 5, 14, 10}, 0);
  check_close("vector, matrices", z, {-2, -1, 2, -4, -2, 4}, 0);
  BOOST_TEST((y.shape() == Shape{2, 2} && z.shape() == Shape{2, 3}));
  check_close("outer", outer(pair, row), {1, 2, 3, -1, -2, -3}, 0);
  BOOST_TEST((outer(pair, row).shape() == Shape{2, 3}));
  BOOST_TEST(dot(zeros({0}), zeros({0})).item() == 0);
  for (const auto& f : std::initializer_list<Tensor (*)(std::span<const Tensor>)>{
           [](std::span<const Tensor> x) { return matmul(x[0], sum(x[1], 0)); },
           [](std::span<const Tensor> x) { return matmul(x[1], x[0]); },
           [](std::span<const Tensor> x) { return matmul(x[0], x[1], false, true); },
           [](std::span<const Tensor> x) { return dot(x[0], sum(x[1], 0)); },
           [](std::span<const Tensor> x) { return outer(x[0], sum(x[1], 0)); }}) {
    BOOST_TEST(gradcheck(f, {row, m}));
    BOOST_TEST(gradgradcheck(f, {row, m}));
  }
  BOOST_CHECK_EXCEPTION(matmul(row, pair), Error, says("the inner sizes 3 and 2 differ"));
  BOOST_CHECK_EXCEPTION(matmul(full({}, 2, DType::f64), row), Error,
                        says("a scalar is no matrix; multiply with *"));
  BOOST_CHECK_EXCEPTION(matmul(row, m, true), Error, says("a vector is not transposed"));
  BOOST_CHECK_EXCEPTION(dot(m, row), Error, says("dot: needs vectors, got (2, 3) and (3,)"));
  BOOST_CHECK_EXCEPTION(outer(m, row), Error, says("outer: needs vectors"));
}
