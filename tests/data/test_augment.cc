#define BOOST_TEST_MODULE augment
#include <gradus/data/augment.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// N images whose every pixel has a number of its own.
Tensor numbered(int64_t n, int64_t c, int64_t h, int64_t w, DType dtype = DType::f32) {
  return raw::cast(raw::reshape(arange(n * c * h * w), {n, c, h, w}), dtype);
}

}  // namespace

BOOST_AUTO_TEST_CASE(flipped_images_are_mirrored) {
  const int64_t n = 100, h = 3, w = 4;
  for (const DType dtype : {DType::f32, DType::i64})
    for (const int64_t axis : {-1, -2}) {
      Generator generator(3);
      const Tensor images = numbered(n, 2, h, w, dtype),
                   flipped = random_flip(images, 0.3, axis, generator);
      int64_t times = 0;
      for (int64_t k = 0; k < n; ++k) {
        bool same = true, mirrored = true;
        for (int64_t c = 0; c < 2; ++c)
          for (int64_t i = 0; i < h; ++i)
            for (int64_t j = 0; j < w; ++j) {
              const double value = flipped.at({k, c, i, j});
              same = same && value == images.at({k, c, i, j});
              mirrored = mirrored && value == (axis == -1 ? images.at({k, c, i, w - 1 - j})
                                                          : images.at({k, c, h - 1 - i, j}));
            }
        BOOST_TEST(same != mirrored);
        times += mirrored;
      }
      BOOST_TEST((times > 14 && times < 48));  // 30 are expected, give or take 4.6
      BOOST_TEST(random_flip(images, 0, axis, generator).to_vector<float>() ==
                 images.to_vector<float>());
    }
  BOOST_CHECK_EXCEPTION(random_flip(numbered(1, 1, 2, 2), 0.5, 1), Error, says("along axis 1"));
  BOOST_CHECK_EXCEPTION(random_flip(numbered(1, 1, 2, 2), 2), Error, says("with probability 2"));
  BOOST_CHECK_EXCEPTION(random_flip(ones({2, 2})), Error, says("images must be (N, C, H, W)"));
}

BOOST_AUTO_TEST_CASE(crops_are_parts_of_the_padded_image) {
  const int64_t n = 300, h = 4, w = 5, height = 3, width = 4, padding = 1;
  const Tensor images = numbered(n, 2, h, w);
  Generator generator(3);
  const Tensor crops = random_crop(images, height, width, padding, -1, generator);
  BOOST_TEST((crops.shape() == Shape{n, 2, height, width}));
  std::map<std::pair<int64_t, int64_t>, int> times;
  for (int64_t k = 0; k < n; ++k)
    for (int64_t top = -padding; top + height <= h + padding; ++top)
      for (int64_t left = -padding; left + width <= w + padding; ++left) {
        bool same = true;
        for (int64_t c = 0; c < 2; ++c)
          for (int64_t i = 0; i < height; ++i)
            for (int64_t j = 0; j < width; ++j) {
              const int64_t a = top + i, b = left + j;
              const bool inside = a >= 0 && a < h && b >= 0 && b < w;
              same = same && crops.at({k, c, i, j}) == (inside ? images.at({k, c, a, b}) : -1);
            }
        if (same) ++times[{top, left}];
      }
  int all = 0;
  for (const auto& [place, count] : times) {
    all += count;
    BOOST_TEST((count > 5 && count < 40));  // 18.75 of each of the 16 places are expected
  }
  BOOST_TEST(all == n);
  BOOST_TEST(times.size() == 16u);
  BOOST_TEST(random_crop(images, h, w).to_vector<float>() == images.to_vector<float>());
  BOOST_CHECK_EXCEPTION(random_crop(images, 5, 5), Error, says("random_crop: 5 x 5 of images"));
  BOOST_CHECK_EXCEPTION(random_crop(images, 0, 5), Error, says("random_crop: 0 x 5"));
  BOOST_CHECK_EXCEPTION(random_crop(images, 1, 1, -1), Error, says("with -1 around"));
}

// The values are those of torch.nn.functional.grid_sample (bilinear, zeros around, not aligned to
// corners) by affine_grid of the rotation in pixels, in f64; of the images without the fill.
BOOST_AUTO_TEST_CASE(rotated_images_are_pytorchs) {
  const Tensor images = raw::cast(test::wave({2, 2, 3, 4}, 1.5, 0.7, 0.25), DType::f32),
               angles = Tensor::of({30, -100});
  test::check_close(
      "0 around", rotate(images, angles),
      {0.604803194,   1.4357617,    0.358016448,  -0.37062295,   0.881100359,  -0.37240556,
       -0.484659705,  0.978430796,  -0.148743367, 0.228825212,   1.28228354,   0.642135644,
       0.00299576892, -0.650781797, -0.136964088, 0.976505367,   0.271304529,  0.185429528,
       0.829275934,   -0.286945249, -0.296110193, 0.604026928,   0.229509615,  -0.21112874,
       -0.412655006,  -0.240219485, 0.805604823,  -0.746417264,  -0.404494704, 0.0885788425,
       0.46735927,    -0.220523339, 0.0690777184, 0.0406771279,  0.558795768,  0.187889653,
       0.384013558,   0.353625316,  0.0071631714, 0.979227695,   0.857447315,  0.181002114,
       0.225896947,   0.879252465,  1.07588399,   -0.0834996469, 0.448328352,  0.455192927},
      1e-6);
  test::check_close(
      "2 around", rotate(images, angles, 2),
      {1.836854,     1.66781251,   0.358016448,  0.227453262,   0.881100359, -0.37240556,
       -0.484659705, 0.978430796,  0.449332845,  0.228825212,   1.51433435,  1.87418645,
       1.23504658,   -0.41873099,  -0.136964088, 1.57458158,    0.271304529, 0.185429528,
       0.829275934,  -0.286945249, 0.301966018,  0.604026928,   0.461560422, 1.02092207,
       0.889064608,  -0.240219485, 0.805604823,  -0.13929036,   0.549928555, 0.0885788425,
       0.46735927,   0.73389992,   0.676204622,  0.0406771279,  0.558795768, 1.48960927,
       1.68573317,   0.353625316,  0.0071631714, 1.5863546,     1.81187057,  0.181002114,
       0.225896947,  1.83367572,   1.68301089,   -0.0834996469, 0.448328352, 1.75691254},
      1e-6);
  // Counterclockwise, as torch.rot90.
  test::check_close("a quarter",
                    rotate(raw::reshape(Tensor::of({0, 1, 2, 3}), {1, 1, 2, 2}), Tensor::of({90})),
                    {1, 3, 0, 2}, 1e-6);
  Generator generator(5), again(5);
  const Tensor many = raw::expand(images, {2, 2, 3, 4});
  const Tensor turned = random_rotation(many, 20, 0, generator);
  BOOST_TEST(turned.to_vector<float>() ==
             rotate(many, uniform({2}, -20, 20, again, DType::f64)).to_vector<float>());
  BOOST_TEST(random_rotation(images, 0).to_vector<float>() == images.to_vector<float>());
  BOOST_CHECK_EXCEPTION(rotate(images, ones({3})), Error, says("an angle for each"));
  BOOST_CHECK_EXCEPTION(rotate(raw::cast(images, DType::f64), angles), Error, says("needs f32"));
  BOOST_CHECK_EXCEPTION(rotate(images, Tensor::of({0, std::numeric_limits<double>::infinity()})),
                        Error, says("an angle of inf"));
  BOOST_CHECK_EXCEPTION(random_rotation(images, -1), Error, says("by up to -1 degrees"));
}

BOOST_AUTO_TEST_CASE(noise_has_its_deviation) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Generator generator(2), again(2);
    const Tensor x = full({100, 100}, 3, dtype);
    const std::vector<double> noisy = random_noise(x, 0.5, generator).to_vector<double>();
    double mean = 0, var = 0;
    for (const double v : noisy) mean += v / 1e4;
    for (const double v : noisy) var += (v - mean) * (v - mean) / 1e4;
    BOOST_TEST(std::abs(mean - 3) < 5 * 0.5 / 100);
    BOOST_TEST(std::abs(var - 0.25) < 5 * 0.25 * std::sqrt(2 / 1e4));
    BOOST_TEST(random_noise(x, 0.5, again).to_vector<double>() == noisy);
    BOOST_TEST(random_noise(x, 0).to_vector<double>() == x.to_vector<double>());
  }
  BOOST_CHECK_EXCEPTION(random_noise(ones({2}), -1), Error, says("a deviation of -1"));
  BOOST_CHECK_EXCEPTION(random_noise(arange(2), 1), Error, says("random_noise: needs f32 or f64"));
}

BOOST_AUTO_TEST_CASE(mixed_items_are_of_two) {
  Dataset batch{"mine",
                raw::cast(numbered(6, 1, 2, 2), DType::f64),
                Tensor::of({0, 1, 2, 2, 1, 0}, DType::i64),
                3,
                {{"lengths", arange(6)}}};
  Generator generator(7);
  const Dataset result = mixup(batch, 1, generator);
  BOOST_TEST((result.classes == 0 && result.y.dtype() == DType::f64));
  BOOST_TEST((result.y.shape() == Shape{6, 3}));
  BOOST_TEST(result["lengths"].to_vector<int>() == batch["lengths"].to_vector<int>());
  std::set<double> weights;
  for (int64_t n = 0; n < 6; ++n) {
    // x is 4 n, 4 n + 1, ...: its first pixel tells a n + (1 - a) m.
    bool fits = false;
    for (int64_t m = 0; m < 6 && !fits; ++m) {
      const double x = result.x.at({n, 0, 0, 0}) / 4;
      const double a = m == n ? 1 : (x - static_cast<double>(m)) / static_cast<double>(n - m);
      fits = a >= 0 && a <= 1;
      for (int64_t c = 0; c < 3; ++c) {
        const double expected = a * (batch.y.at({n}) == static_cast<double>(c)) +
                                (1 - a) * (batch.y.at({m}) == static_cast<double>(c));
        fits = fits && std::abs(result.y.at({n, c}) - expected) < 1e-12;
      }
      fits = fits && (m != n || x == static_cast<double>(n));
    }
    BOOST_TEST(fits);
  }
  // The moments of Beta(alpha, alpha): 1/2 and 1 / (4 (2 alpha + 1)).
  const Dataset identity{"identity", eye(8, DType::f64), eye(8, DType::f64)};
  for (const double alpha : {0.1, 1., 5.}) {
    const int draws = 4000;
    double mean = 0, square = 0;
    for (int i = 0; i < draws; ++i) {
      const Tensor y = mixup(identity, alpha, generator).y;
      double weight = 1;
      for (int64_t n = 0; n < 8; ++n) weight = std::min(weight, y.at({n, n}));
      mean += weight / draws;
      square += (weight - 0.5) * (weight - 0.5) / draws;
    }
    const double var = 1 / (4 * (2 * alpha + 1));
    BOOST_TEST(std::abs(mean - 0.5) < 5 * std::sqrt(var / draws), alpha << ": " << mean);
    BOOST_TEST(std::abs(square - var) < 5 * std::sqrt(0.0625 / draws), alpha << ": " << square);
  }
  BOOST_CHECK_EXCEPTION(mixup(batch, 0), Error, says("alpha is 0, must be above 0"));
  batch.y = Tensor::of({0, 1, 2, 3, 1, 0}, DType::i64);
  BOOST_CHECK_EXCEPTION(mixup(batch, 1), Error, says("a label 3 of 3 classes"));
  batch.classes = 0;
  BOOST_CHECK_EXCEPTION(mixup(batch, 1), Error, says("mine needs a floating x, and y (N) with"));
}
