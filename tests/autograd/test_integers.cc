#define BOOST_TEST_MODULE integers
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Integers = std::vector<int64_t>;
using Truths = std::vector<bool>;

namespace {

Tensor integers(const Integers& values, const Shape& shape) { return Tensor::from(values, shape); }
Tensor truths(const Truths& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

const int64_t kMin = std::numeric_limits<int64_t>::min(),
              kMax = std::numeric_limits<int64_t>::max();

}  // namespace

BOOST_AUTO_TEST_CASE(arithmetic_broadcasts_and_takes_views) {
  const Tensor a = integers({1, -2, 3, 4, 5, -6}, {2, 3}), b = integers({10, 20, 30}, {3});
  BOOST_TEST((a + b).to_vector<int64_t>() == (Integers{11, 18, 33, 14, 25, 24}));
  BOOST_TEST((a - b).to_vector<int64_t>() == (Integers{-9, -22, -27, -6, -15, -36}));
  BOOST_TEST((a * transpose(integers({2, 3}, {1, 2}))).to_vector<int64_t>() ==
             (Integers{2, -4, 6, 12, 15, -18}));
  BOOST_TEST((transpose(a) + transpose(a)).to_vector<int64_t>() ==
             (Integers{2, 8, -4, 10, 6, -12}));
  BOOST_TEST(maximum(a, integers({2}, {1})).to_vector<int64_t>() == (Integers{2, 2, 3, 4, 5, 2}));
  BOOST_TEST(minimum(a, integers({2}, {1})).to_vector<int64_t>() == (Integers{1, -2, 2, 2, 2, -6}));
  BOOST_TEST((-a).to_vector<int64_t>() == (Integers{-1, 2, -3, -4, -5, 6}));
  BOOST_TEST(abs(transpose(a)).to_vector<int64_t>() == (Integers{1, 4, 2, 5, 3, 6}));
  BOOST_TEST(square(a).to_vector<int64_t>() == (Integers{1, 4, 9, 16, 25, 36}));
  BOOST_TEST(sign(a - 3).to_vector<int64_t>() == (Integers{-1, -1, 0, 1, 1, -1}));
  BOOST_TEST((a + 2).to_vector<int64_t>() == (Integers{3, 0, 5, 6, 7, -4}));
  BOOST_TEST((2 - a).to_vector<int64_t>() == (Integers{1, 4, -1, -2, -3, 8}));
  BOOST_TEST((a * -3).to_vector<int64_t>() == (Integers{-3, 6, -9, -12, -15, 18}));
  BOOST_TEST(clamp(a, -2, 3).to_vector<int64_t>() == (Integers{1, -2, 3, 3, 3, -2}));
  BOOST_TEST((zeros({0, 3}, DType::i64) + b).shape().numel() == 0);
}

BOOST_AUTO_TEST_CASE(they_wrap_around) {
  const Tensor ends = integers({kMin, kMax}, {2});
  BOOST_TEST((ends + 1).to_vector<int64_t>() == (Integers{kMin + 1, kMin}));
  BOOST_TEST((ends - 1).to_vector<int64_t>() == (Integers{kMax, kMax - 1}));
  BOOST_TEST((ends * 2).to_vector<int64_t>() == (Integers{0, -2}));
  BOOST_TEST((-ends).to_vector<int64_t>() == (Integers{kMin, -kMax}));
  BOOST_TEST(abs(ends).to_vector<int64_t>() == (Integers{kMin, kMax}));
  BOOST_TEST(sum(ends + ends).to_vector<int64_t>() == (Integers{-2}));
  BOOST_TEST(prod(ends).to_vector<int64_t>() == (Integers{kMin}));
  BOOST_TEST(cumsum(ends - 1, 0).to_vector<int64_t>() == (Integers{kMax, -3}));
}

BOOST_AUTO_TEST_CASE(sums_and_extrema) {
  const Tensor a = integers({1, -2, 3, 4, 5, -6}, {2, 3});
  BOOST_TEST(sum(a).to_vector<int64_t>() == (Integers{5}));
  BOOST_TEST(sum(a, {0}).to_vector<int64_t>() == (Integers{5, 3, -3}));
  BOOST_TEST(sum(transpose(a), {0}, true).to_vector<int64_t>() == (Integers{2, 3}));
  BOOST_TEST(str(sum(a, {1}, true).shape()) == "(2, 1)");
  BOOST_TEST(sum(zeros({0, 2}, DType::i64), {0}).to_vector<int64_t>() == (Integers{0, 0}));
  BOOST_TEST(prod(a, {1}).to_vector<int64_t>() == (Integers{-6, -120}));
  BOOST_TEST(prod(a, {0, 1}).to_vector<int64_t>() == (Integers{720}));
  BOOST_TEST(prod(zeros({0, 2}, DType::i64), {0}).to_vector<int64_t>() == (Integers{1, 1}));
  BOOST_TEST(max(a, {0}).to_vector<int64_t>() == (Integers{4, 5, 3}));
  BOOST_TEST(min(a).to_vector<int64_t>() == (Integers{-6}));
  BOOST_TEST(argmax(a, 1).to_vector<int64_t>() == (Integers{2, 1}));
  BOOST_TEST(argmin(a).to_vector<int64_t>() == (Integers{5}));
  BOOST_TEST(argmax(integers({2, 7, 7}, {3})).to_vector<int64_t>() == (Integers{1}));
  // A value that no double holds.
  BOOST_TEST(max(integers({kMax - 1, kMax}, {2})).to_vector<int64_t>() == (Integers{kMax}));
}

BOOST_AUTO_TEST_CASE(truths_are_counted_and_joined) {
  const Tensor a = truths({true, true, false, false}), b = truths({true, false, true, false});
  BOOST_TEST((a + b).to_vector<bool>() == (Truths{true, true, true, false}));
  BOOST_TEST((a * b).to_vector<bool>() == (Truths{true, false, false, false}));
  BOOST_TEST(maximum(a, b).to_vector<bool>() == (Truths{true, true, true, false}));
  BOOST_TEST(minimum(a, b).to_vector<bool>() == (Truths{true, false, false, false}));
  BOOST_TEST((sum(a).dtype() == DType::i64 && prod(a).dtype() == DType::i64));
  BOOST_TEST(sum(a).item() == 2.0);
  BOOST_TEST(prod(a).item() == 0.0);
  BOOST_TEST(cumsum(a, 0).to_vector<int64_t>() == (Integers{1, 2, 2, 2}));
  BOOST_TEST(max(a).to_vector<bool>() == (Truths{true}));
  BOOST_TEST(min(a).to_vector<bool>() == (Truths{false}));
}

BOOST_AUTO_TEST_CASE(they_are_added_by_indices) {
  const Tensor x = integers({kMax, 20, 30}, {3}), places = integers({0, 2, 2}, {3}),
               src = integers({1, 2, 3}, {3});
  BOOST_TEST(scatter_add(x, 0, places, src).to_vector<int64_t>() == (Integers{kMin, 20, 35}));
  BOOST_TEST(index_add(x, 0, places, src).to_vector<int64_t>() == (Integers{kMin, 20, 35}));
  BOOST_TEST(x.to_vector<int64_t>() == (Integers{kMax, 20, 30}));
}

BOOST_AUTO_TEST_CASE(nothing_of_them_is_recorded) {
  const Tensor x = ones({3}).set_requires_grad();
  Tape tape;
  const Tensor n = cast(x, DType::i64);
  sum(n * n + 1);
  max(clamp(cumsum(n, 0), 0, 2));
  BOOST_TEST(tape.size() == 0U);
}

BOOST_AUTO_TEST_CASE(what_has_no_integers_says_so) {
  const Tensor a = arange(3), b = truths({true, false, true}), x = ones({3});
  BOOST_CHECK_EXCEPTION(a / a, Error, says("div: needs f32 or f64, got i64; cast(x, DType::f32)"));
  BOOST_CHECK_EXCEPTION(a / 2, Error,
                        says("div_scalar: needs f32 or f64, got i64; cast(x, DType::f32)"));
  BOOST_CHECK_EXCEPTION(mean(a), Error,
                        says("mean: needs f32 or f64, got i64; cast(x, DType::f32)"));
  BOOST_CHECK_EXCEPTION(mean(b), Error, says("mean: needs f32 or f64, got bool"));
  BOOST_CHECK_EXCEPTION(pow(a, a), Error, says("pow: needs f32 or f64, got i64"));
  BOOST_CHECK_EXCEPTION(exp(a), Error, says("exp: needs f32 or f64, got i64"));
  BOOST_CHECK_EXCEPTION(b - b, Error, says("sub: of bools; logical_not(a)"));
  BOOST_CHECK_EXCEPTION(-b, Error, says("neg: needs f32 or f64, got bool"));
  BOOST_CHECK_EXCEPTION(b + 1, Error, says("add_scalar: needs f32 or f64, got bool"));
  BOOST_CHECK_EXCEPTION(a + 0.5, Error, says("add: 0.5 is no number of dtype i64"));
  BOOST_CHECK_EXCEPTION(clamp(a, 0, 0.5), Error, says("clamp: 0.5 is no number of dtype i64"));
  BOOST_CHECK_EXCEPTION(a + x, Error, says("add: dtypes i64 and f32 do not mix; cast one of them"));
  BOOST_CHECK_EXCEPTION(a + b, Error, says("add: dtypes i64 and bool do not mix"));
  BOOST_CHECK_EXCEPTION(argmax(b), Error, says("argmax: needs f32 or f64, got bool"));
}
