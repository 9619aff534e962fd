#define BOOST_TEST_MODULE vowels
#include <gradus/data/dataset.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace gradus;

namespace {

struct Value {
  int64_t utterance, frame, coefficient;
  double value;
};

/// `sum` of the values, each rounded to 4 decimals and times 10,000, and some values themselves.
void check_part(const Dataset& data, const std::vector<int>& counts, int64_t frames, int64_t sum,
                std::initializer_list<Value> values) {
  const auto n = data.size();
  BOOST_TEST((data.x.shape() == Shape{n, 29, 12} && data.x.dtype() == DType::f32));
  BOOST_TEST(data.classes == 9);
  std::vector<int> found(9);
  for (int64_t speaker : data.y.to_vector<int64_t>()) ++found[static_cast<size_t>(speaker)];
  BOOST_TEST(found == counts, boost::test_tools::per_element());
  const auto lengths = data["lengths"].to_vector<int64_t>();
  BOOST_TEST(*std::min_element(lengths.begin(), lengths.end()) == 7);
  BOOST_TEST(*std::max_element(lengths.begin(), lengths.end()) <= 29);
  int64_t all_frames = 0;
  double all = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t length = lengths[static_cast<size_t>(i)];
    all_frames += length;
    for (int64_t t = 0; t < 29; ++t)
      for (int64_t d = 0; d < 12; ++d) {
        const double value = data.x.at({i, t, d});
        all += std::round(1e4 * value);
        BOOST_TEST((t < length || value == 0));
      }
  }
  BOOST_TEST(all_frames == frames);
  BOOST_TEST(all == static_cast<double>(sum));
  for (const Value& v : values)
    BOOST_TEST(data.x.at({v.utterance, v.frame, v.coefficient}) == static_cast<float>(v.value));
}

}  // namespace

// Read from aeon's files by a script of its own.
BOOST_AUTO_TEST_CASE(they_are_the_published_ones) {
  const Split data = japanese_vowels();
  BOOST_TEST(data.train.size() == 270);
  BOOST_TEST(data.test.size() == 370);
  check_part(data.train, std::vector<int>(9, 30), 4274, -10574491,
             {{0, 0, 0, 1.8609},
              {0, 19, 11, -0.1760},
              {5, 2, 3, -0.1612},
              {100, 6, 6, -0.2082},
              {269, 8, 0, 0.9667},
              {269, 0, 11, 0.0618}});
  check_part(data.test, {31, 35, 88, 44, 29, 24, 40, 50, 29}, 5687, -21465108,
             {{0, 0, 0, 1.6355},
              {0, 18, 11, 0.1086},
              {200, 6, 5, -0.1926},
              {369, 0, 0, 1.4216},
              {369, 10, 11, 0.2247}});
  const Tensor &train = data.train["lengths"], &test = data.test["lengths"];
  BOOST_TEST((train.at({0}) == 20 && train.at({100}) == 23 && train.at({269}) == 9));
  BOOST_TEST((test.at({0}) == 19 && test.at({200}) == 9 && test.at({369}) == 11));
  BOOST_TEST((data.train.y.at({100}) == 3 && data.test.y.at({200}) == 4));
}
