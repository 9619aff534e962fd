#define BOOST_TEST_MODULE compare
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>

#include <cmath>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Bools = std::vector<bool>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor bools(std::initializer_list<double> values) { return Tensor::of(values, DType::boolean); }

}  // namespace

BOOST_AUTO_TEST_CASE(comparisons_by_hand) {
  for (DType dtype : {DType::f32, DType::f64, DType::i64}) {
    const Tensor a = Tensor::of({1, 2, 3}, dtype), b = Tensor::of({2, 2, 2}, dtype);
    BOOST_TEST((less(a, b).to_vector<bool>() == Bools{true, false, false}));
    BOOST_TEST((less_equal(a, b).to_vector<bool>() == Bools{true, true, false}));
    BOOST_TEST((greater(a, b).to_vector<bool>() == Bools{false, false, true}));
    BOOST_TEST((greater_equal(a, b).to_vector<bool>() == Bools{false, true, true}));
    BOOST_TEST((equal(a, b).to_vector<bool>() == Bools{false, true, false}));
    BOOST_TEST((not_equal(a, b).to_vector<bool>() == Bools{true, false, true}));
    BOOST_TEST(((a < 2).to_vector<bool>() == Bools{true, false, false}));
    BOOST_TEST(((a <= 2).to_vector<bool>() == Bools{true, true, false}));
    BOOST_TEST(((a > 2).to_vector<bool>() == Bools{false, false, true}));
    BOOST_TEST(((a >= 2).to_vector<bool>() == Bools{false, true, true}));
    BOOST_TEST((equal(a, 2).to_vector<bool>() == Bools{false, true, false}));
    BOOST_TEST((not_equal(a, 2).to_vector<bool>() == Bools{true, false, true}));
  }
}

BOOST_AUTO_TEST_CASE(only_not_equal_holds_for_nan) {
  const Tensor a = Tensor::of({kNaN, kNaN, 1}), b = Tensor::of({kNaN, 1, kNaN});
  using Comparison = Tensor (*)(const Tensor&, const Tensor&);
  for (Comparison f : {Comparison(less), Comparison(less_equal), Comparison(greater),
                       Comparison(greater_equal), Comparison(equal)})
    BOOST_TEST(!any(f(a, b)));
  BOOST_TEST(all(not_equal(a, b)));
}

BOOST_AUTO_TEST_CASE(broadcast_and_views) {
  const Tensor column = unsqueeze(Tensor::of({1, 2, 3}), 1), row = Tensor::of({3, 1});
  BOOST_TEST(str(less(column, row).shape()) == "(3, 2)");
  BOOST_TEST(
      (less(column, row).to_vector<bool>() == Bools{true, false, true, false, false, false}));
  const Tensor x = Tensor::of({{1, 5, 2}, {4, 3, 6}});
  BOOST_TEST((greater(transpose(x), row).to_vector<bool>() ==
              Bools{false, true, true, true, false, true}));
}

BOOST_AUTO_TEST_CASE(logic) {
  const Tensor a = bools({0, 0, 1, 1}), b = bools({0, 1, 0, 1});
  BOOST_TEST((logical_and(a, b).to_vector<bool>() == Bools{false, false, false, true}));
  BOOST_TEST((logical_or(a, b).to_vector<bool>() == Bools{false, true, true, true}));
  BOOST_TEST((logical_not(a).to_vector<bool>() == Bools{true, true, false, false}));
  BOOST_TEST((logical_and(unsqueeze(a, 1), b).to_vector<bool>() ==
              Bools{false, false, false, false, false, false, false, false,  //
                    false, true, false, true, false, true, false, true}));
  BOOST_TEST(any(a));
  BOOST_TEST(!all(a));
  BOOST_TEST(!any(bools({0, 0})));
  BOOST_TEST(all(bools({1, 1})));
  BOOST_TEST(!any(zeros({0, 3}, DType::boolean)));
  BOOST_TEST(all(zeros({0, 3}, DType::boolean)));
  const Tensor every_other = slice(bools({1, 0, 1, 0}), 0, 0, 4, 2);
  BOOST_TEST(all(every_other));
}

BOOST_AUTO_TEST_CASE(finite_elements) {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (double bad : {kInf, -kInf, kNaN})
      for (int64_t at : {0, 5, 18}) {
        Tensor x = zeros({19}, dtype);
        BOOST_TEST(all_finite(x));
        Tensor place = slice(x, 0, at, at + 1);
        raw::fill(place, bad);
        BOOST_TEST(!all_finite(x));
      }
  }
  BOOST_TEST(all_finite(full({3}, std::numeric_limits<float>::max())));
  BOOST_TEST(all_finite(arange(4)));
}

BOOST_AUTO_TEST_CASE(changes_in_place) {
  Tensor x = zeros({2, 3}), right = slice(x, 1, 1, 3);
  fill_(right, 4);
  BOOST_TEST(x.to_vector<double>() == (std::vector<double>{0, 4, 4, 0, 4, 4}));
  copy_(right, Tensor::of({{1, 2}, {3, 5}}));
  BOOST_TEST(x.to_vector<double>() == (std::vector<double>{0, 1, 2, 0, 3, 5}));
}

BOOST_AUTO_TEST_CASE(changes_in_place_that_a_tape_would_miss_are_errors) {
  Tensor leaf = sample({3}, 1).set_name("w");
  const Tensor other = zeros({3}, DType::f64);
  const auto before = leaf.to_vector<double>();
  {
    Tape tape;
    Tensor y = leaf * 2;
    BOOST_CHECK_EXCEPTION(fill_(leaf, 1), Error, says("fill_: w (3,), which is a leaf"));
    BOOST_CHECK_EXCEPTION(copy_(leaf, other), Error, says("wrap this in NoRecord"));
    BOOST_CHECK_EXCEPTION(fill_(y, 1), Error, says("a result on that tape"));
    Tensor constant = zeros({3}, DType::f64);
    BOOST_CHECK_EXCEPTION(copy_(constant, y), Error, says("would be lost"));
    fill_(constant, 2);
    BOOST_TEST(leaf.to_vector<double>() == before);
    const NoRecord pause;
    fill_(leaf, 1);
    BOOST_TEST(leaf.to_vector<double>() == (std::vector<double>{1, 1, 1}));
  }
  copy_(leaf, other);
  BOOST_TEST(leaf.to_vector<double>() == (std::vector<double>{0, 0, 0}));
  // What a tape had kept is found changed.
  Tape tape;
  Tensor factor = ones({3}, DType::f64);
  const Tensor y = sum(leaf * factor);
  fill_(factor, 2);
  BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("changed in place"));
}

// Whatever the dtype can hold, a comparison is that of mathematics: long double holds every number
// here. PyTorch agrees but for f32 and numbers that it takes for infinite or 0.
BOOST_AUTO_TEST_CASE(numbers_that_the_dtype_cannot_hold) {
  using Limits = std::numeric_limits<int64_t>;
  const Tensor integers = Tensor::from(
      std::vector{Limits::min(), Limits::min() + 1, int64_t{-2}, int64_t{-1}, int64_t{0},
                  int64_t{1}, int64_t{2}, Limits::max() - 1, Limits::max()},
      {9});
  const float least = std::numeric_limits<float>::denorm_min();
  const std::vector<float> reals{
      -INFINITY, -std::numeric_limits<float>::max(), -1.5f,    -least, 0, least,
      0.5f,      std::numeric_limits<float>::max(),  INFINITY, NAN};
  const double numbers[] = {-kInf,
                            -1e300,
                            -0x1.8p63,
                            -0x1p63,
                            -0x1.fffffffffffffp62,
                            -1.5,
                            -1,
                            -0.5,
                            -1e-60,
                            0,
                            5e-324,
                            1e-60,
                            1e-46,
                            0.5,
                            1,
                            1.5,
                            2,
                            0x1.fffffffffffffp62,
                            0x1p63,
                            0x1p64,
                            1e300,
                            kInf,
                            kNaN};
  const auto check = [&]<class T>(const Tensor& x, const std::vector<T>& values) {
    for (const double b : numbers) {
      const double size = std::abs(b);
      if (std::is_same_v<T, int64_t> && size >= 0x1p53 && size <= 0x1p63) {
        BOOST_CHECK_EXCEPTION(less(x, b), Error, says("give it in a tensor of i64"));
        continue;
      }
      const Tensor results[] = {less(x, b),          less_equal(x, b), greater(x, b),
                                greater_equal(x, b), equal(x, b),      not_equal(x, b)};
      for (size_t i = 0; i < values.size(); ++i) {
        const long double p = values[i], q = b;
        const bool expected[] = {p<q, p <= q, p> q, p >= q, p == q, p != q};
        for (size_t k = 0; k < 6; ++k)
          BOOST_TEST(results[k].data<bool>()[i] == expected[k],
                     k << ": " << values[i] << " with " << b << ", " << name(x.dtype()));
      }
    }
  };
  check(integers, integers.to_vector<int64_t>());
  check(Tensor::from(reals, {10}), reals);
  check(raw::cast(Tensor::from(reals, {10}), DType::f64), reals);
  check(bools({0, 1}), std::vector<bool>{false, true});
  // f32 had to round its own 0.1 as well.
  const Tensor tenth = full({1}, 0.1);
  BOOST_TEST((all(equal(tenth, 0.1)) && !any(greater(tenth, 0.1)) && all(less_equal(tenth, 0.1))));
}

// PyTorch refuses the first four, too. x * 1e300 would be NaN, not 0, where x is 0.
BOOST_AUTO_TEST_CASE(numbers_that_would_become_infinite) {
  const Tensor x = zeros({3}), mask = bools({1, 0, 1}), i = arange(3);
  Tensor y = zeros({3});
  const auto refused = [](const char* op) {
    return says(std::string(op) + " is no number of dtype");
  };
  BOOST_CHECK_EXCEPTION(fill_(y, 1e300), Error, refused("fill_: 1e+300"));
  BOOST_CHECK_EXCEPTION(masked_fill(x, mask, -1e300), Error, refused("masked_fill: -1e+300"));
  BOOST_CHECK_EXCEPTION(masked_fill(i, mask, kInf), Error, refused("masked_fill: inf"));
  BOOST_CHECK_EXCEPTION(clamp(x, -1e300, 1), Error, refused("clamp: -1e+300"));
  BOOST_CHECK_EXCEPTION(masked_fill(i, mask, 0.5), Error, refused("masked_fill: 0.5"));
  BOOST_CHECK_EXCEPTION(x + 1e300, Error, refused("add: 1e+300"));
  BOOST_CHECK_EXCEPTION(x * 1e300, Error, refused("mul: 1e+300"));
  BOOST_CHECK_EXCEPTION(x / 1e300, Error, refused("div: 1e+300"));
  BOOST_CHECK_EXCEPTION(pow(x, 1e300), Error, refused("pow: 1e+300"));
  BOOST_CHECK_EXCEPTION(inside(x, 0, 1e300), Error, refused("inside: 1e+300"));
  BOOST_CHECK_EXCEPTION(huber_loss(x, x, 1e300), Error, refused("huber_loss: 1e+300"));
  BOOST_TEST((masked_fill(i, mask, 5).to_vector<int>() == std::vector{5, 1, 5}));
  BOOST_TEST(all(equal(x + kInf, kInf)));
  BOOST_TEST(all(equal(clamp(x, -kInf, kInf), 0)));
  // A derivative may lie beyond the range: that is no one's parameter.
  Tensor leaf = ones({1}).set_requires_grad();
  Tape tape;
  BOOST_TEST(tape.gradient(sum(leaf / 1e-39), leaf).item() == kInf);
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3});
  BOOST_CHECK_EXCEPTION(less(x, zeros({3}, DType::f64)), Error, says("less: dtypes f32 and f64"));
  BOOST_CHECK_EXCEPTION(equal(x, zeros({4})), Error, says("equal"));
  BOOST_CHECK_EXCEPTION(logical_and(x, x), Error, says("logical_and: needs bool, got f32"));
  BOOST_CHECK_EXCEPTION(any(x), Error, says("any: needs bool"));
  Tensor y = zeros({4});
  BOOST_CHECK_EXCEPTION(copy_(y, x), Error, says("copy_: shape (3,) into (4,)"));
}

BOOST_AUTO_TEST_CASE(a_quotient_by_a_number_is_rounded_once) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = Tensor::of({49, 0, 3}, dtype);
    BOOST_TEST((x / 49).at({0}) == 1);
    BOOST_TEST((x / 3).at({2}) == 1);
  }
  BOOST_TEST((Tensor::of({1e-310}, DType::f64) / 1e-310).item() == 1);
}

// A number comes as a double. One that may be another integer, rounded, is an error, as is an
// element that would be rounded.
BOOST_AUTO_TEST_CASE(no_integer_is_rounded) {
  constexpr int64_t k = int64_t{1} << 53;
  const Tensor mask = ones({1}, DType::boolean);
  for (const int64_t integer : {k, k + 1, -k - 1, k * 3 + 1, std::numeric_limits<int64_t>::max(),
                                std::numeric_limits<int64_t>::min()}) {
    const auto b = static_cast<double>(integer);  // as the compiler converts it
    const Tensor x = Tensor::from(std::vector<int64_t>{integer}, {1}), one = arange(1);
    for (auto f : {+[](const Tensor&a, double v) { return less(a, v); },
                   +[](const Tensor&a, double v) { return less_equal(a, v); },
                   +[](const Tensor&a, double v) { return greater(a, v); },
                   +[](const Tensor&a, double v) { return greater_equal(a, v); },
                   +[](const Tensor&a, double v) { return equal(a, v); },
                   +[](const Tensor&a, double v) { return not_equal(a, v); },
                   +[](const Tensor&a, double v) { return full(a.shape(), v, a.dtype()); },
                   +[](const Tensor&a, double v) { return where(a > 0, a, v); },
                   +[](const Tensor&a, double v) { return where(a > 0, v, a); },
                   +[](const Tensor&a, double v) { return masked_fill(a, a > 0, v); },
                   +[](const Tensor&a, double v) {
                     Tensor y = raw::clone(a);
                     fill_(y, v);
                     return y;
                   }}) {
      BOOST_CHECK_EXCEPTION(f(x, b), Error, says("give it in a tensor of i64"));
      BOOST_CHECK_EXCEPTION(f(one, b), Error, says("give it in a tensor of i64"));
    }
    BOOST_TEST(all(equal(x, x)));
    BOOST_TEST((where(mask, x, one).to_vector<int64_t>() == std::vector<int64_t>{integer}));
    if (integer != k) {
      BOOST_CHECK_EXCEPTION(x.item(), Error, says("take to_vector<int64_t>"));
      BOOST_CHECK_EXCEPTION(x.at({0}), Error, says("take to_vector<int64_t>"));
    }
  }
  const Tensor x = Tensor::from(std::vector<int64_t>{k - 1}, {1});
  BOOST_TEST(all(equal(x, static_cast<double>(k - 1))));
  BOOST_TEST(all(less(x, kInf)));
  BOOST_TEST(all(less(x, 1e300)));
  BOOST_TEST(x.item() == static_cast<double>(k - 1));
}
