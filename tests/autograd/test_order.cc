#define BOOST_TEST_MODULE order
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/order.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Integers = std::vector<int64_t>;
using Numbers = std::vector<double>;

namespace {

const double kNaN = std::numeric_limits<double>::quiet_NaN(),
             kInf = std::numeric_limits<double>::infinity();

}  // namespace

BOOST_AUTO_TEST_CASE(equal_ones_keep_their_order) {
  const Tensor x = Tensor::of({{2, 1, 2, 1}, {0, 3, -1, 3}});
  const auto [up, places] = sort(x);
  BOOST_TEST(up.to_vector<double>() == (Numbers{1, 1, 2, 2, -1, 0, 3, 3}));
  BOOST_TEST(places.to_vector<int64_t>() == (Integers{1, 3, 0, 2, 2, 0, 1, 3}));
  BOOST_TEST(argsort(x, 1, true).to_vector<int64_t>() == (Integers{0, 2, 1, 3, 1, 3, 0, 2}));
  BOOST_TEST(argsort(transpose(x), 0).to_vector<int64_t>() == (Integers{1, 2, 3, 0, 0, 1, 2, 3}));
  BOOST_TEST(sort(x, 0, true).values.to_vector<double>() == (Numbers{2, 3, 2, 3, 0, 1, -1, 1}));
  // -0 and 0 are equal.
  BOOST_TEST(argsort(Tensor::of({0.0, -0.0, 0.0})).to_vector<int64_t>() == (Integers{0, 1, 2}));
}

BOOST_AUTO_TEST_CASE(nan_is_the_largest) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = Tensor::of({kNaN, kInf, 1, -kNaN, -kInf}, dtype);
    BOOST_TEST(argsort(x).to_vector<int64_t>() == (Integers{4, 2, 1, 0, 3}));
    BOOST_TEST(argsort(x, 0, true).to_vector<int64_t>() == (Integers{0, 3, 1, 2, 4}));
    BOOST_TEST(topk(x, 2).indices.to_vector<int64_t>() == (Integers{0, 3}));
    BOOST_TEST(topk(x, 2, 0, false).indices.to_vector<int64_t>() == (Integers{4, 2}));
    BOOST_TEST(max_with_indices(x, 0).indices.item() == 0.0);
    BOOST_TEST(min_with_indices(x, 0).indices.item() == 0.0);
    BOOST_TEST(argmin(x).item() == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(of_any_dtype) {
  const int64_t big = std::numeric_limits<int64_t>::max();
  const Tensor x = Tensor::from(Integers{big, -big - 1, big - 1, 0}, {4});
  BOOST_TEST(sort(x).values.to_vector<int64_t>() == (Integers{-big - 1, 0, big - 1, big}));
  BOOST_TEST(topk(x, 2).values.to_vector<int64_t>() == (Integers{big, big - 1}));
  const Tensor b = Tensor::of({1, 0, 1, 0}, DType::boolean);
  BOOST_TEST(argsort(b).to_vector<int64_t>() == (Integers{1, 3, 0, 2}));
  BOOST_TEST(argsort(b, 0, true).to_vector<int64_t>() == (Integers{0, 2, 1, 3}));
}

BOOST_AUTO_TEST_CASE(shapes) {
  const Tensor x = zeros({3, 4});
  BOOST_TEST(str(topk(x, 2, 0).values.shape()) == "(2, 4)");
  BOOST_TEST(str(topk(x, 0).indices.shape()) == "(3, 0)");
  BOOST_TEST(str(max_with_indices(x, 1).values.shape()) == "(3,)");
  BOOST_TEST(str(min_with_indices(x, 1, true).indices.shape()) == "(3, 1)");
  BOOST_TEST(str(sort(zeros({0, 3})).values.shape()) == "(0, 3)");
  BOOST_TEST(str(sort(zeros({3, 0})).indices.shape()) == "(3, 0)");
}

// The values' gradients go where the values came from, to one of those that are equal.
BOOST_AUTO_TEST_CASE(gradients) {
  const Tensor x = Tensor::of({{2, 1, 2}, {0, 3, 3}}, DType::f64).set_requires_grad();
  const auto gradient = [&](auto f) {
    Tape tape;
    const Tensor y = f();
    const Tensor dy =
        reshape(cast(arange(1, static_cast<double>(y.numel()) + 1), DType::f64), y.shape());
    return tape.gradient(y, x, {.dy = dy}).to_vector<double>();
  };
  BOOST_TEST(gradient([&] { return sort(x).values; }) == (Numbers{2, 1, 3, 4, 5, 6}));
  BOOST_TEST(gradient([&] { return topk(x, 1).values; }) == (Numbers{1, 0, 0, 0, 2, 0}));
  BOOST_TEST(gradient([&] { return max_with_indices(x, 1).values; }) ==
             (Numbers{1, 0, 0, 0, 2, 0}));
  BOOST_TEST(gradient([&] { return min_with_indices(x, 0).values; }) ==
             (Numbers{0, 2, 3, 1, 0, 0}));
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4});
  BOOST_CHECK_EXCEPTION(topk(x, 5), Error, says("topk: 5 of axis -1 of shape (3, 4)"));
  BOOST_CHECK_EXCEPTION(topk(x, -1), Error, says("topk: -1 of axis -1 of shape (3, 4)"));
  BOOST_CHECK_EXCEPTION(sort(x, 2), Error, says("sort: "));
  BOOST_CHECK_EXCEPTION(max_with_indices(zeros({0}), 0), Error, says("argmax: of no elements"));
}
