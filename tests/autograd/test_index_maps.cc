#define BOOST_TEST_MODULE index_maps
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/einsum.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index_maps.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/samples.h>

#include <cmath>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using Numbers = std::vector<double>;
using Integers = std::vector<int64_t>;

namespace {

const Tensor x23 = Tensor::of({{1, 2, 3}, {4, 5, 6}});
const double kNaN = std::numeric_limits<double>::quiet_NaN();

Numbers values(const Tensor& y) { return y.to_vector<double>(); }

}  // namespace

BOOST_AUTO_TEST_CASE(flips_and_rolls) {
  BOOST_TEST(values(flip(x23, {1})) == (Numbers{3, 2, 1, 6, 5, 4}));
  BOOST_TEST(values(flip(x23)) == (Numbers{6, 5, 4, 3, 2, 1}));
  BOOST_TEST(values(flip(transpose(x23), {0})) == (Numbers{3, 6, 2, 5, 1, 4}));
  BOOST_TEST(values(roll(x23, 1, 1)) == (Numbers{3, 1, 2, 6, 4, 5}));
  BOOST_TEST(values(roll(x23, -4, -1)) == (Numbers{2, 3, 1, 5, 6, 4}));
  BOOST_TEST(values(roll(x23, std::numeric_limits<int64_t>::min(), 0)) == values(x23));
  BOOST_TEST(str(roll(zeros({0, 2}), 3, 0).shape()) == "(0, 2)");
  const Tensor words = arange(3);
  BOOST_TEST(flip(words).to_vector<int64_t>() == (Integers{2, 1, 0}));
}

BOOST_AUTO_TEST_CASE(repetitions) {
  BOOST_TEST(values(tile(x23, {2})) == (Numbers{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
  const Tensor y = tile(Tensor::of({1, 2}), {2, 1, 2});
  BOOST_TEST(str(y.shape()) == "(2, 1, 4)");
  BOOST_TEST(values(y) == (Numbers{1, 2, 1, 2, 1, 2, 1, 2}));
  BOOST_TEST(str(tile(x23, {0, 1}).shape()) == "(0, 3)");
  BOOST_TEST(values(repeat_interleave(x23, 2, 0)) == (Numbers{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
  BOOST_TEST(values(repeat_interleave(Tensor::of({1, 2}), 3, 0)) == (Numbers{1, 1, 1, 2, 2, 2}));
  BOOST_CHECK_EXCEPTION(tile(x23, {-1}), Error, says("tile: -1 times, shape (2, 3)"));
}

BOOST_AUTO_TEST_CASE(paddings) {
  BOOST_TEST(values(pad(x23, {1, 2}, PadMode::constant, 9)) ==
             (Numbers{9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9, 9}));
  BOOST_TEST(values(pad(x23, {0, 0, 1, 0})) == (Numbers{0, 0, 0, 1, 2, 3, 4, 5, 6}));
  BOOST_TEST(values(pad(x23, {-1, 1})) == (Numbers{2, 3, 0, 5, 6, 0}));
  BOOST_TEST(values(pad(x23, {2, 1}, PadMode::reflect)) ==
             (Numbers{3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5}));
  BOOST_TEST(values(pad(x23, {2, 1}, PadMode::replicate)) ==
             (Numbers{1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6}));
  BOOST_TEST(values(pad(x23, {1, -2}, PadMode::replicate)) == (Numbers{1, 1, 4, 4}));
  BOOST_TEST(str(pad(zeros({2, 0}), {1, 1}).shape()) == "(2, 2)");
  BOOST_TEST(pad(arange(2), {1, 0}, PadMode::constant, 7).to_vector<int64_t>() ==
             (Integers{7, 0, 1}));
  BOOST_CHECK_EXCEPTION(pad(x23, {1}), Error, says("pad: amounts (1,) for shape (2, 3)"));
  BOOST_CHECK_EXCEPTION(pad(x23, {-2, -2}), Error, says("pad: by -2 and -2 along axis 1"));
  BOOST_CHECK_EXCEPTION(pad(x23, {3, 0}, PadMode::reflect), Error,
                        says("pad: by 3 and 0 along axis 1 of shape (2, 3), which has too few"));
  BOOST_CHECK_EXCEPTION(pad(zeros({2, 0}), {1, 0}, PadMode::replicate), Error,
                        says("which has no elements to repeat"));
}

// The padding does not meet x.
BOOST_AUTO_TEST_CASE(infinite_padding_has_no_influence) {
  Tensor x = raw::clone(x23).set_requires_grad();
  Tape tape;
  const Tensor y = pad(x, {1, 1}, PadMode::constant, kNaN);
  BOOST_TEST(values(tape.gradient(y, x, {.dy = ones_like(y)})) == (Numbers{1, 1, 1, 1, 1, 1}));
}

BOOST_AUTO_TEST_CASE(triangles) {
  const Tensor x = reshape(cast(arange(1, 10), DType::f32), {3, 3});
  BOOST_TEST(values(tril(x)) == (Numbers{1, 0, 0, 4, 5, 0, 7, 8, 9}));
  BOOST_TEST(values(triu(x)) == (Numbers{1, 2, 3, 0, 5, 6, 0, 0, 9}));
  BOOST_TEST(values(tril(x, -1)) == (Numbers{0, 0, 0, 4, 0, 0, 7, 8, 0}));
  BOOST_TEST(values(triu(x, 1)) == (Numbers{0, 2, 3, 0, 0, 6, 0, 0, 0}));
  for (const int64_t far : {int64_t{3}, int64_t{100}, std::numeric_limits<int64_t>::max()}) {
    BOOST_TEST(values(tril(x, far)) == values(x));
    BOOST_TEST(values(triu(x, -far)) == values(x));
    BOOST_TEST(values(tril(x, -far)) == Numbers(9, 0));
    BOOST_TEST(values(triu(x, far)) == Numbers(9, 0));
  }
  BOOST_TEST(values(triu(x, std::numeric_limits<int64_t>::min())) == values(x));
  BOOST_TEST(values(tril(ones({2, 1, 2}, DType::boolean))) == (Numbers{1, 0, 1, 0}));
  BOOST_CHECK_EXCEPTION(tril(ones({3})), Error,
                        says("tril: needs rows and columns, got shape (3,)"));
}

BOOST_AUTO_TEST_CASE(selections_by_masks) {
  const Tensor mask = x23 > 2;
  BOOST_TEST(values(masked_select(x23, mask)) == (Numbers{3, 4, 5, 6}));
  BOOST_TEST(values(masked_select(transpose(x23), transpose(mask))) == (Numbers{4, 5, 3, 6}));
  BOOST_TEST(values(masked_select(x23, Tensor::of({1, 0, 1}, DType::boolean))) ==
             (Numbers{1, 3, 4, 6}));
  BOOST_TEST(values(masked_select(Tensor::of({7}), mask)) == (Numbers{7, 7, 7, 7}));
  BOOST_TEST(masked_select(x23, x23 > 9).numel() == 0);
  BOOST_TEST(nonzero(mask).to_vector<int64_t>() == (Integers{0, 2, 1, 0, 1, 1, 1, 2}));
  BOOST_TEST(nonzero(Tensor::of({0, 3, kNaN})).to_vector<int64_t>() == (Integers{1, 2}));
  BOOST_TEST(str(nonzero(ones({})).shape()) == "(1, 0)");
  BOOST_CHECK_EXCEPTION(masked_select(x23, x23), Error,
                        says("masked_select: the mask is f32, not bool"));
  BOOST_CHECK_EXCEPTION(masked_select(x23, ones({2}, DType::boolean)), Error,
                        says("masked_select: "));
}

BOOST_AUTO_TEST_CASE(sequences) {
  BOOST_TEST(arange(2, 5).to_vector<int64_t>() == (Integers{2, 3, 4}));
  BOOST_TEST(arange(5, 0, -2).to_vector<int64_t>() == (Integers{5, 3, 1}));
  BOOST_TEST(arange(3, 3).numel() == 0);
  BOOST_TEST(arange(3, 0).numel() == 0);
  BOOST_TEST(values(arange(0, 1, 0.25, DType::f32)) == (Numbers{0, 0.25, 0.5, 0.75}));
  BOOST_TEST(values(linspace(-1, 1, 5)) == (Numbers{-1, -0.5, 0, 0.5, 1}));
  BOOST_TEST(values(linspace(2, 9, 1)) == Numbers{2});
  BOOST_TEST(linspace(0, 1, 0).numel() == 0);
  BOOST_TEST(linspace(0.1, 0.7, 4, DType::f64).at({3}) == 0.7);
  BOOST_TEST(linspace(-1.7e308, 1.7e308, 3, DType::f64).at({1}) == 0);
  BOOST_CHECK_EXCEPTION(arange(0, 1, 0.5), Error, says("arange: 0.5 is no number of dtype i64"));
  BOOST_CHECK_EXCEPTION(arange(0, 1e39, 1e38, DType::f32), Error,
                        says("arange: 9e+38 is no number of dtype f32"));
  BOOST_CHECK_EXCEPTION(arange(0, 1, 0), Error, says("arange: from 0 to 1 by steps of 0"));
  BOOST_CHECK_EXCEPTION(linspace(0, 1, -1), Error, says("linspace: -1 numbers"));
}

BOOST_AUTO_TEST_CASE(einsum_by_hand) {
  const Tensor a = Tensor::of({{1, 2, 3}, {4, 5, 6}}), b = Tensor::of({{1, 2}, {3, 4}, {5, 6}}),
               square = Tensor::of({{1, 2}, {3, 4}}), v = Tensor::of({1, 2, 3});
  BOOST_TEST(values(einsum("ij,jk->ik", {a, b})) == (Numbers{22, 28, 49, 64}));
  BOOST_TEST(values(einsum("ij, jk", {a, b})) == (Numbers{22, 28, 49, 64}));
  BOOST_TEST(values(einsum("ij,jk->ki", {a, b})) == (Numbers{22, 49, 28, 64}));
  BOOST_TEST(values(einsum("ij->ji", {a})) == (Numbers{1, 4, 2, 5, 3, 6}));
  BOOST_TEST(values(einsum("ba", {a})) == (Numbers{1, 4, 2, 5, 3, 6}));
  BOOST_TEST(values(einsum("ij->", {a})) == Numbers{21});
  BOOST_TEST(values(einsum("ii->i", {square})) == (Numbers{1, 4}));
  BOOST_TEST(values(einsum("ii", {square})) == Numbers{5});
  BOOST_TEST(values(einsum("i,i->", {v, v})) == Numbers{14});
  BOOST_TEST(values(einsum("i,i->i", {v, v})) == (Numbers{1, 4, 9}));
  BOOST_TEST(values(einsum("i,j->ij", {v, v})) == (Numbers{1, 2, 3, 2, 4, 6, 3, 6, 9}));
  BOOST_TEST(values(einsum("ij,j->i", {a, v})) == (Numbers{14, 32}));
  BOOST_TEST(values(einsum("ij,jk,k->i", {a, b, Tensor::of({1, -1})})) == (Numbers{-6, -15}));
  BOOST_TEST(values(einsum(",i->i", {Tensor::of({2, 3}).size(0) == 2 ? full({}, 2) : v, v})) ==
             (Numbers{2, 4, 6}));
  BOOST_TEST(str(einsum("ij,jk->ik", {zeros({2, 0}), zeros({0, 3})}).shape()) == "(2, 3)");
}

// Batches, letters of one tensor alone, and sums of both kinds, against the sums written out.
BOOST_AUTO_TEST_CASE(einsum_is_its_definition) {
  const Tensor a = sample({2, 3, 4}, 1), b = sample({4, 5, 2, 3}, 2);
  const Tensor y = einsum("bij,jkbl->bk", {a, b});
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t k = 0; k < 5; ++k) {
      double total = 0;
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t j = 0; j < 4; ++j)
          for (int64_t l = 0; l < 3; ++l) total += a.at({n, i, j}) * b.at({j, k, n, l});
      BOOST_TEST(y.at({n, k}) == total, boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(second_order) {
  const auto check = [](const std::function<Tensor(const Tensor&)>& f, const Shape& shape) {
    BOOST_TEST(gradcheck(f, {sample(shape, 1)}).ok());
    BOOST_TEST(gradgradcheck(f, {sample(shape, 1)}).ok());
  };
  check([](const Tensor& x) { return square(pad(x, {1, 2}, PadMode::reflect)); }, {2, 3});
  check([](const Tensor& x) { return square(pad(x, {1, -1, 0, 1})); }, {2, 3});
  check([](const Tensor& x) { return square(tril(flip(roll(x, 1, 0)))); }, {3, 3});
  check([](const Tensor& x) { return square(tile(x, {2, 2})); }, {2, 3});
  check([](const Tensor& x) { return einsum("ij,kj->ik", {x, x}); }, {2, 3});
  check([](const Tensor& x) { return square(einsum("iij->j", {x})); }, {2, 2, 3});
}

BOOST_AUTO_TEST_CASE(bad_equations) {
  const Tensor a = ones({2, 3}), b = ones({4, 2});
  BOOST_CHECK_EXCEPTION(einsum("ij,jk->ik", {a, b}), Error,
                        says("einsum: 'j' of \"ij,jk->ik\" is of size 3 and, in shape (4, 2), 4"));
  BOOST_CHECK_EXCEPTION(einsum("ij->k", {a}), Error,
                        says("einsum: 'k' of the result of \"ij->k\" is in no tensor"));
  BOOST_CHECK_EXCEPTION(einsum("ij->ii", {a}), Error, says("einsum: 'i' stands twice"));
  BOOST_CHECK_EXCEPTION(einsum("...j", {a}), Error, says("einsum: '.' in \"...j\" names no axis"));
  BOOST_CHECK_EXCEPTION(einsum("ij->j->i", {a}), Error, says("einsum: '-' in"));
  BOOST_CHECK_EXCEPTION(einsum("ij,jk", {a}), Error,
                        says("einsum: \"ij,jk\" is of 2 tensors, not of 1"));
  BOOST_CHECK_EXCEPTION(einsum("ijk", {a}), Error,
                        says("einsum: \"ijk\" of \"ijk\" for a tensor of shape (2, 3)"));
  BOOST_CHECK_EXCEPTION(einsum("ii", {a}), Error, says("einsum: 'i' of \"ii\" is of size 2"));
  BOOST_CHECK_EXCEPTION(einsum("ij,jk->ik", {a, ones({3, 2}, DType::f64)}), Error,
                        says("einsum: dtypes f32 and f64 do not mix"));
}
