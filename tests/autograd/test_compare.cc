#define BOOST_TEST_MODULE compare
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

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

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3});
  BOOST_CHECK_EXCEPTION(less(x, zeros({3}, DType::f64)), Error, says("less: dtypes f32 and f64"));
  BOOST_CHECK_EXCEPTION(equal(x, zeros({4})), Error, says("equal"));
  BOOST_CHECK_EXCEPTION(less(arange(3), 0.5), Error,
                        says("less: 0.5 is not a number of dtype i64"));
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
