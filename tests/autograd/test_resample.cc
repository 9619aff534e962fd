#define BOOST_TEST_MODULE resample
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/resample.h>
#include <gradus/layers/upsample.h>

#include <cmath>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

constexpr InterpolateOptions to(int64_t h, int64_t w, Interpolation mode) {
  return {.size = Pair(h, w), .mode = mode};
}

}  // namespace

// Output i of the nearest pixels is floor(i H / H'), for every pair of sizes: a quotient that is
// rounded first misses some, 11 * 26 / 22 among them.
BOOST_AUTO_TEST_CASE(nearest_pixels_are_exact) {
  for (int64_t from = 1; from < 34; ++from)
    for (int64_t size = 1; size < 80; ++size) {
      const Tensor x = raw::reshape(raw::cast(arange(from), DType::f64), {1, 1, 1, from});
      const std::vector<double> y =
          interpolate(x, to(1, size, Interpolation::nearest)).to_vector<double>();
      BOOST_TEST_REQUIRE(y.size() == static_cast<size_t>(size));
      for (int64_t i = 0; i < size; ++i)
        BOOST_TEST(y[static_cast<size_t>(i)] == static_cast<double>(i * from / size));
    }
}

// A plane a + b i + c j stays one, at the places where the outputs lie, away from the rim.
BOOST_AUTO_TEST_CASE(planes_stay_planes) {
  Tensor x = empty({1, 1, 5, 6}, DType::f64);
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t j = 0; j < 6; ++j)
      x.mutable_data<double>()[6 * i + j] =
          0.5 + 2.0 * static_cast<double>(i) - 1.5 * static_cast<double>(j);
  for (const bool corners : {false, true}) {
    InterpolateOptions options = to(7, 11, Interpolation::bilinear);
    options.align_corners = corners;
    const Tensor y = interpolate(x, options);
    const auto at = [&](int64_t i, double from, double size) {
      const double place = corners ? static_cast<double>(i) * (from - 1) / (size - 1)
                                   : (static_cast<double>(i) + 0.5) * from / size - 0.5;
      return std::min(std::max(place, 0.0), from - 1);
    };
    for (int64_t i = 0; i < 7; ++i)
      for (int64_t j = 0; j < 11; ++j)
        BOOST_TEST(std::abs(y.at({0, 0, i, j}) - (0.5 + 2 * at(i, 5, 7) - 1.5 * at(j, 6, 11))) <=
                   1e-14);
  }
}

// What is infinite or NaN reaches the outputs beside it alone, and its own place without a 0 * inf.
BOOST_AUTO_TEST_CASE(what_is_not_finite_stays_in_place) {
  const double inf = std::numeric_limits<double>::infinity();
  InterpolateOptions options = to(1, 5, Interpolation::bilinear);
  options.align_corners = true;
  const Tensor x = raw::reshape(Tensor::of({1.0, inf, 3.0}, DType::f64), {1, 1, 1, 3});
  BOOST_TEST(
      interpolate(x, options).to_vector<double>() == (std::vector<double>{1, inf, inf, inf, 3}),
      boost::test_tools::per_element());
  const Tensor end = raw::reshape(Tensor::of({1.0, 2.0, inf}, DType::f64), {1, 1, 1, 3});
  BOOST_TEST(
      interpolate(end, options).to_vector<double>() == (std::vector<double>{1, 1.5, 2, inf, inf}),
      boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({2, 3, 4, 5});
  BOOST_CHECK_EXCEPTION(interpolate(zeros({4, 5}), {.scale = 2}), Error,
                        says("interpolate: x must be (N, C, H, W) or (N, C, L), is (4, 5)"));
  BOOST_CHECK_EXCEPTION(interpolate(x, {}), Error, says("needs a size or a scale, got 0"));
  BOOST_CHECK_EXCEPTION(interpolate(x, {.size = 2, .scale = 2}), Error, says("got 2"));
  BOOST_CHECK_EXCEPTION(interpolate(x, {.scale = 2, .align_corners = true}), Error,
                        says("align_corners is for bilinear"));
  BOOST_CHECK_EXCEPTION(interpolate(x, {.scale = 0.1}), Error, says("x (2, 3, 4, 5) times 0.1"));
  BOOST_CHECK_EXCEPTION(interpolate(x, {.size = Pair(0, 2)}), Error, says("to 0x2"));
  BOOST_CHECK_EXCEPTION(interpolate(zeros({2, 3, 0, 5}), {.scale = 2}), Error,
                        says("(2, 3, 0, 5)"));
  BOOST_CHECK_EXCEPTION(interpolate(zeros({2, 3, 5}), {.size = Pair(2, 3)}), Error,
                        says("a size of 2x3 for x (2, 3, 5) with one axis"));
  BOOST_CHECK_EXCEPTION(Upsample({})(x), Error, says("needs a size or a scale"));
  BOOST_TEST(Upsample({.scale = 2}).describe() == "Upsample(2, nearest)");
  BOOST_TEST(Upsample(to(2, 3, Interpolation::bilinear)).describe() ==
             "Upsample(to 2x3, bilinear)");
}

BOOST_AUTO_TEST_CASE(integers_have_no_means) {
  for (const DType dtype : {DType::i64, DType::boolean}) {
    const Tensor x = ones({1, 1, 3, 3}, dtype);
    BOOST_CHECK_EXCEPTION(interpolate(x, {.size = Pair(2), .mode = Interpolation::bilinear}), Error,
                          test::says("interpolate: bilinear of"));
    BOOST_TEST(all(equal(interpolate(x, {.size = Pair(2)}), ones({1, 1, 2, 2}, dtype))));
  }
}
