#define BOOST_TEST_MODULE axes
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradus.h>

#include <functional>

#include "tests/checks.h"

// Axes: an integer is one, a scalar has 0 and -1; squeeze, expand, split and chunk.
using namespace gradus;
using test::check_close;
using test::says;

namespace {

template <class A>
constexpr bool all_take = requires(Tensor x, A a) {
  sum(x, a);
  mean(x, a);
  var(x, a);
  max(x, a);
  min(x, a);
  argmax(x, a);
  squeeze(x, a);
  permute(x, a);
};
template <class A>
constexpr bool some_take = requires(Tensor x, A a) {
  sum(x, a);
}
|| requires(Tensor x, A a) { mean(x, a); }
|| requires(Tensor x, A a) { var(x, a); }
|| requires(Tensor x, A a) { max(x, a); }
|| requires(Tensor x, A a) { min(x, a); }
|| requires(Tensor x, A a) { squeeze(x, a); }
|| requires(Tensor x, A a) { permute(x, a); };

// PyTorch takes these as well; what is no axis does not compile.
static_assert(all_take<int> && all_take<int64_t> && all_take<size_t> && all_take<Axes>);
static_assert(!some_take<double> && !some_take<float> && !some_take<bool> &&
              !some_take<const char*> && !some_take<DType>);
static_assert(!std::is_convertible_v<double, Axes> && !std::is_convertible_v<bool, Axes> &&
              !std::is_convertible_v<int, Shape>);
static_assert(std::is_convertible_v<int, Pair> && !std::is_convertible_v<double, Pair> &&
              !std::is_convertible_v<bool, Pair>);

const Tensor zero = zeros({}, DType::i64);

Tensor number(double value) { return full({}, value, DType::f64); }
Tensor leaf(double value) { return number(value).set_requires_grad(); }

}  // namespace

BOOST_AUTO_TEST_CASE(an_integer_is_an_axis) {
  const Tensor x = Tensor::of({{1, 5, 3}, {4, 2, 6}});
  check_close("sum", sum(x, 1), {9, 12}, 0);
  check_close("mean", mean(x, -1), {3, 4}, 0);
  check_close("max", max(x, 0), {4, 5, 6}, 0);
  check_close("min", min(x, 1), {1, 2}, 0);
  check_close("var", var(x, 0), {4.5, 4.5, 4.5}, 1e-6);
  BOOST_TEST((sum(x, 1, true).shape() == Shape{2, 1}));
  BOOST_TEST((sum(x, {}, true).shape() == Shape{1, 1}));
  BOOST_TEST((sum(x, {0, 1}).shape() == Shape{}));
  BOOST_CHECK_EXCEPTION(sum(x, 2), Error, says("sum: axis 2 is out of range for 2 dimensions"));
  const Pair both = 3;
  BOOST_TEST((both.h == 3 && both.w == 3));
  const Tensor image = ones({1, 1, 4, 4});
  BOOST_TEST((max_pool2d(image, 2).shape() == Shape{1, 1, 2, 2}));
  BOOST_TEST((conv2d(image, ones({1, 1, 3, 3}), {}, {.padding = 1}).shape() == image.shape()));
}

// As in PyTorch 2.13.
BOOST_AUTO_TEST_CASE(a_scalar_has_axes_0_and_minus_1) {
  const Tensor x = number(3), index = zeros({1}, DType::i64);
  for (const int64_t axis : {0, -1}) {
    for (const auto& [y, value] :
         {std::pair{sum(x, axis), 3.0},
          {mean(x, axis), 3.0},
          {max(x, axis), 3.0},
          {min(x, axis), 3.0},
          {var(x, axis, false, 0), 0.0},
          {sum(x, axis, true), 3.0},
          {cast(argmax(x, axis), DType::f64), 0.0},
          {softmax(x, axis), 1.0},
          {cast(argmax(x, axis, true), DType::f64), 0.0},
          {log_softmax(x, axis), 0.0},
          {logsumexp(x, axis), 3.0},
          {logsumexp(x, axis, true), 3.0},
          {squeeze(x, axis), 3.0},
          {transpose(x, axis, 0), 3.0},
          {gather(x, axis, zero), 3.0},
          {scatter_add(x, axis, zero, number(2)), 5.0},
          {scatter_add(x, axis, zeros({2}, DType::i64), ones({2}, DType::f64)), 5.0},
          {index_select(x, axis, index), 3.0},
          {index_select(x, axis, zero), 3.0},
          {index_add(x, axis, index, number(2)), 5.0}}) {
      BOOST_TEST(y.ndim() == 0);
      BOOST_TEST(y.item() == value);
    }
    check_close("gather", gather(x, axis, zeros({2}, DType::i64)), {3, 3}, 0);
    const Tensor row = Tensor::of({1, 2, 3});
    BOOST_TEST(gather(row, axis, full({}, 2, DType::i64)).item() == 3);
    check_close("index_select", index_select(row, axis, full({}, 1, DType::i64)), {2}, 0);
    // What counts in parts needs an axis, there as here.
    for (const auto& f : std::initializer_list<std::function<void()>>{
             [&] { slice(x, axis, 0, 1); }, [&] { select(x, axis, 0); }, [&] { unbind(x, axis); },
             [&] { split(x, 1, axis); }, [&] { chunk(x, 1, axis); },
             [&] {
               concat({x, x}, axis);
             }})
      BOOST_CHECK_EXCEPTION(f(), Error, says("a scalar has no axis"));
    BOOST_CHECK_THROW(x.size(axis), Error);
  }
  BOOST_CHECK_EXCEPTION(sum(x, 1), Error, says("axis 1 is out of range for 0 dimensions"));
  BOOST_CHECK_EXCEPTION(sum(x, {0, -1}), Error, says("named twice"));
  BOOST_CHECK_EXCEPTION(index_select(x, 0, zeros({2}, DType::i64)), Error,
                        says("2 indices for a scalar"));
}

BOOST_AUTO_TEST_CASE(gradients_of_a_scalar_along_its_axis) {
  const std::vector<std::pair<const char*, Tensor (*)(const Tensor&)>> rows = {
      {"sum", [](const Tensor& x) { return square(sum(x, 0)); }},
      {"max", [](const Tensor& x) { return square(max(x, -1)); }},
      {"softmax", [](const Tensor& x) { return x * softmax(x, 0); }},
      {"log_softmax", [](const Tensor& x) { return x * log_softmax(x, -1); }},
      {"logsumexp", [](const Tensor& x) { return square(logsumexp(x, 0)); }},
      {"squeeze", [](const Tensor& x) { return square(squeeze(x, 0)); }},
      {"transpose", [](const Tensor& x) { return square(transpose(x, 0, -1)); }},
      {"gather", [](const Tensor& x) { return square(gather(x, 0, zeros({3}, DType::i64))); }},
      {"gather by a scalar",
       [](const Tensor& x) {
         return square(gather(stack({x, square(x)}), 0, zero));
       }},
      {"scatter_add", [](const Tensor& x) { return square(scatter_add(x, 0, zero, square(x))); }},
      {"index_select",
       [](const Tensor& x) { return square(index_select(x, 0, zeros({1}, DType::i64))); }},
      {"index_select by a scalar",
       [](const Tensor& x) {
         return square(index_select(stack({x, square(x)}), 0, zero));
       }},
      {"index_add", [](const Tensor& x) { return square(index_add(x, 0, zero, square(x))); }}};
  for (const auto& [name, f] : rows) {
    const auto of_one = [f = f](const Tensor& x) { return f(x); };
    BOOST_TEST(gradcheck(of_one, {leaf(1.3)}), name);
    BOOST_TEST(gradgradcheck(of_one, {leaf(1.3)}), name);
  }
}

BOOST_AUTO_TEST_CASE(squeeze_takes_what_has_size_1) {
  const Tensor x = ones({1, 3, 1, 2, 1});
  BOOST_TEST((squeeze(x).shape() == Shape{3, 2}));
  BOOST_TEST((squeeze(x, 0).shape() == Shape{3, 1, 2, 1}));
  BOOST_TEST((squeeze(x, 1).shape() == x.shape()));
  BOOST_TEST((squeeze(x, {0, 1, -1}).shape() == Shape{3, 1, 2}));
  BOOST_TEST(squeeze(x).shares_storage(x));
  BOOST_TEST(!squeeze(x, 1).is(x));
  BOOST_CHECK_EXCEPTION(squeeze(x, {0, -5}), Error, says("squeeze: axis -5 is named twice"));
}

BOOST_AUTO_TEST_CASE(expand_keeps_a_size_where_it_says_minus_1) {
  const Tensor x = ones({2, 1});
  BOOST_TEST((expand(x, {-1, 4}).shape() == Shape{2, 4}));
  BOOST_TEST((expand(x, {3, -1, -1}).shape() == Shape{3, 2, 1}));
  BOOST_CHECK_EXCEPTION(expand(x, {-1, 2, 4}), Error, says("expand: "));  // PyTorch's error, too
  BOOST_CHECK_EXCEPTION(expand(x, {-2, 4}), Error, says("(-2, 4)"));
}

BOOST_AUTO_TEST_CASE(parts_along_an_axis) {
  const auto sizes = [](const TensorList& parts, int64_t axis = 0) {
    std::vector<int64_t> all;
    for (const Tensor& part : parts) all.push_back(part.size(axis));
    return all;
  };
  using Sizes = std::vector<int64_t>;
  const Tensor x = arange(10), wide = reshape(arange(12), {2, 6});
  BOOST_TEST(sizes(split(x, 4)) == (Sizes{4, 4, 2}));
  BOOST_TEST(sizes(split(x, {1, 0, 9})) == (Sizes{1, 0, 9}));
  BOOST_TEST(sizes(split(x, 10)) == Sizes{10});
  BOOST_TEST(sizes(split(x, 11)) == Sizes{10});
  BOOST_TEST(sizes(split(zeros({0, 3}), 2)) == Sizes{0});
  BOOST_TEST(sizes(split(zeros({0, 3}), 0)) == Sizes{0});
  BOOST_TEST(split(zeros({0, 3}), std::span<const int64_t>()).empty());
  BOOST_TEST(sizes(chunk(x, 3)) == (Sizes{4, 4, 2}));
  BOOST_TEST(sizes(chunk(x, 4)) == (Sizes{3, 3, 3, 1}));
  BOOST_TEST(sizes(chunk(x, 6)) == (Sizes{2, 2, 2, 2, 2}));
  BOOST_TEST(sizes(chunk(x, 20)) == Sizes(10, 1));
  BOOST_TEST(sizes(chunk(zeros({0, 3}), 3)) == (Sizes{0, 0, 0}));
  const TensorList parts = split(wide, 4, -1);
  BOOST_TEST(sizes(parts, 1) == (Sizes{4, 2}));
  BOOST_TEST((parts[1].to_vector<int>() == std::vector{4, 5, 10, 11}));
  BOOST_TEST(parts[1].shares_storage(wide));
  BOOST_CHECK_EXCEPTION(split(x, {4, 5}), Error, says("split: sizes 4, 5 leave 1 of axis 0"));
  BOOST_CHECK_EXCEPTION(split(x, {4, 7}), Error, says("6 are left for 7"));
  BOOST_CHECK_EXCEPTION(split(x, {-1, 11}), Error, says("do not add up"));
  BOOST_CHECK_EXCEPTION(split(x, 0), Error,
                        says("split: parts of size 0 of axis 0 of shape (10,)"));
  BOOST_CHECK_EXCEPTION(chunk(x, 0), Error, says("chunk: 0 parts of axis 0 of shape (10,)"));
  BOOST_CHECK_EXCEPTION(split(x, 2, 1), Error, says("split: axis 1 is out of range"));
}
