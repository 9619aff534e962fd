#define BOOST_TEST_MODULE random
#include <gradus/tensor/random.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "tests/checks.h"

using namespace gradus;

// Random123's kat_vectors, philox4x32 with 10 rounds.
BOOST_AUTO_TEST_CASE(philox_gives_the_published_answers) {
  struct Row {
    uint32_t counter[4], key[2], answer[4];
  };
  const Row rows[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                       {0xffffffff, 0xffffffff},
                       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                       {0xa4093822, 0x299f31d0},
                       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Row& row : rows) {
    uint32_t result[4];
    philox(row.counter, row.key, result);
    BOOST_TEST(result == row.answer, boost::test_tools::per_element());
  }
  // The seed is the key; the stream and the number of the block are the counter.
  Generator generator(Generator::State{0x299f31d0a4093822, 0x0370734413198a2e, 0x243f6a88 * 4ull});
  const uint32_t counter[] = {0x243f6a88, 0, 0x13198a2e, 0x03707344};
  uint32_t result[4];
  philox(counter, rows[2].key, result);
  for (uint32_t word : result) BOOST_TEST(generator.uint32() == word);
}

BOOST_AUTO_TEST_CASE(a_generator_goes_on_from_its_state) {
  Generator a(7, "encoder.weight");
  for (int drawn = 0; drawn < 9; ++drawn) {
    Generator b(a.state());
    Generator c = a;
    const std::vector<double> expected = randn({5}, c, DType::f64).to_vector<double>();
    BOOST_TEST(randn({5}, b, DType::f64).to_vector<double>() == expected);
    BOOST_TEST((b.state() == c.state()));
    a.uint32();
  }
  Generator fresh(7, "encoder.weight");
  Generator skipped(Generator::State{7, fresh.state().stream, 6});
  for (int i = 0; i < 6; ++i) fresh.uint32();
  BOOST_TEST(fresh.uint64() == skipped.uint64());
}

BOOST_AUTO_TEST_CASE(seeds_and_streams_are_different_sequences) {
  std::vector<uint64_t> first;
  for (uint64_t seed : {0u, 1u, 2u})
    for (const char* stream : {"", "a", "b", "ab", "ba", "layers.0.weight", "layers.1.weight"})
      first.push_back(Generator(seed, stream).uint64());
  first.push_back(Generator(0).uint64());
  std::sort(first.begin(), first.end());
  BOOST_TEST((std::adjacent_find(first.begin(), first.end()) == first.end()));
}

BOOST_AUTO_TEST_CASE(the_default_generator_starts_anew) {
  manual_seed(3);
  const auto a = rand({4}).to_vector<float>(), b = rand({4}).to_vector<float>();
  BOOST_TEST(a != b);
  manual_seed(3);
  BOOST_TEST(rand({4}).to_vector<float>() == a);
  Generator same(3);
  BOOST_TEST(rand({4}, same).to_vector<float>() == a);
}

namespace {

/// What a thread of its own draws first, after `before`.
template <class F>
uint64_t first_of_a_thread(F before) {
  uint64_t word = 0;
  std::thread([&] {
    before();
    word = default_generator().uint64();
  }).join();
  return word;
}

uint64_t word_of(uint64_t seed, uint64_t stream) {
  return Generator(Generator::State{seed, stream, 0}).uint64();
}

constexpr uint64_t kNamed = uint64_t{1} << 63;  // of the streams that threads name

}  // namespace

BOOST_AUTO_TEST_CASE(each_thread_draws_from_a_stream_of_its_own) {
  const auto nothing = [] {};
  for (int run = 0; run < 2; ++run) {
    manual_seed(3);
    for (uint64_t stream = 1; stream < 5; ++stream)
      BOOST_TEST(first_of_a_thread(nothing) == word_of(3, stream));
    BOOST_TEST(default_generator().uint64() == word_of(3, 0));
  }
  // What a thread says about itself takes no stream away from others.
  manual_seed(4);
  BOOST_TEST(first_of_a_thread([] { manual_stream(7); }) == word_of(4, kNamed + 7));
  BOOST_TEST(first_of_a_thread(nothing) == word_of(4, 1));
  manual_stream(7);
  BOOST_TEST(default_generator().uint64() == word_of(4, kNamed + 7));
  // A seed gives the same numbers on whichever thread it is said.
  BOOST_TEST(first_of_a_thread([] { manual_seed(5); }) == word_of(5, 0));
  BOOST_TEST(first_of_a_thread(nothing) == word_of(5, 1));
  // Threads that run go on as they were.
  manual_seed(6);
  Generator expected(6);
  expected.uint64();
  default_generator().uint64();
  first_of_a_thread([] { manual_seed(9); });
  BOOST_TEST(default_generator().uint64() == expected.uint64());
  manual_seed(0);
}

// Before or after others are given theirs: only threads that name the same stream share one.
BOOST_AUTO_TEST_CASE(no_thread_is_given_a_stream_that_another_names) {
  manual_seed(3);
  std::vector<uint64_t> words;
  for (const uint64_t name : {0u, 1u, 2u, 3u, 4u}) {
    words.push_back(first_of_a_thread([&] { manual_stream(name); }));
    words.push_back(first_of_a_thread([] {}));
    BOOST_TEST(first_of_a_thread([&] { manual_stream(name); }) == words[words.size() - 2]);
  }
  words.push_back(first_of_a_thread([] { manual_stream(kNamed - 1); }));
  words.push_back(default_generator().uint64());
  std::sort(words.begin(), words.end());
  BOOST_TEST((std::adjacent_find(words.begin(), words.end()) == words.end()));
  for (const uint64_t name : {kNamed, ~uint64_t{0}})
    BOOST_CHECK_EXCEPTION(manual_stream(name), Error, test::says("is not below 2^63"));
  manual_seed(0);
}

BOOST_AUTO_TEST_CASE(uniforms_are_the_words_upper_bits) {
  for (DType dtype : {DType::f32, DType::f64}) {
    Generator words(5), generator(5);
    for (double x : rand({3, 7}, generator, dtype).to_vector<double>())
      BOOST_TEST(x == (dtype == DType::f32
                           ? std::ldexp(static_cast<double>(words.uint32() >> 8), -24)
                           : std::ldexp(static_cast<double>(words.uint64() >> 11), -53)));
  }
  Generator a(6), b(6);
  const auto unit = rand({50}, a, DType::f64).to_vector<double>();
  const auto between = uniform({50}, -3, 5, b, DType::f64).to_vector<double>();
  for (size_t i = 0; i < unit.size(); ++i) BOOST_TEST(between[i] == -3 + 8 * unit[i]);
  // Rounding to f32 does not reach the upper end.
  Generator narrow(8);
  for (float x : uniform({2000}, 16777215.0, 16777216.0, narrow).to_vector<float>())
    BOOST_TEST(x < 16777216.0f);
}

BOOST_AUTO_TEST_CASE(bernoullis_are_the_upper_words) {
  for (double p : {0.0, 0.25, 0.9, 1.0}) {
    Generator words(5), generator(5);
    const Tensor x = bernoulli({30, 70}, p, generator);
    double count = 0;
    for (bool v : x.to_vector<bool>()) {
      BOOST_REQUIRE(v == (words.uint32() >= (1 - p) * 0x1p32));
      count += v;
    }
    BOOST_TEST(std::abs(count - 2100 * p) <= 5 * std::sqrt(2100 * p * (1 - p)));
  }
  BOOST_CHECK_THROW(bernoulli({3}, 1.5), Error);
}

BOOST_AUTO_TEST_CASE(normals_are_box_and_mullers) {
  Generator uniforms(11), generator(11);
  const auto normals = randn({20001}, generator, DType::f64).to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < normals.size(); i += 2) {
    const long double u = 1 - static_cast<long double>(uniforms.uniform());
    const long double angle = 2 * 3.141592653589793238462643L * uniforms.uniform();
    const long double radius = std::sqrt(-2 * std::log(u));
    const auto error = [&](size_t at, long double exact) {
      return static_cast<double>(std::abs(normals[at] - exact) / radius);
    };
    worst = std::max(worst, error(i, radius * std::cos(angle)));
    if (i + 1 < normals.size()) worst = std::max(worst, error(i + 1, radius * std::sin(angle)));
  }
  BOOST_TEST(worst < 4 * 0x1p-53);
  Generator one(11);
  BOOST_TEST(one.normal() == normals[0]);
  BOOST_TEST(one.normal() == normals[2]);
}

// Within 5 standard errors.
BOOST_AUTO_TEST_CASE(moments) {
  constexpr int64_t n = 200000;
  struct Row {
    const char* name;
    Tensor x;
    double mean, variance, fourth;  // central
  };
  Generator generator(1);
  const Row rows[] = {{"rand", rand({n}, generator), 0.5, 1.0 / 12, 1.0 / 80},
                      {"rand f64", rand({n}, generator, DType::f64), 0.5, 1.0 / 12, 1.0 / 80},
                      {"randn", randn({n}, generator), 0, 1, 3},
                      {"randn f64", randn({n}, generator, DType::f64), 0, 1, 3},
                      {"randint", randint(-3, 4, {n}, generator), 0, 4, 28}};
  for (const Row& row : rows) {
    BOOST_TEST_CONTEXT(row.name) {
      double mean = 0, variance = 0;
      for (double x : row.x.to_vector<double>()) {
        mean += (x - row.mean) / n;
        variance += (x - row.mean) * (x - row.mean) / n;
      }
      BOOST_TEST(std::abs(mean) < 5 * std::sqrt(row.variance / n));
      BOOST_TEST(std::abs(variance - row.variance) <
                 5 * std::sqrt((row.fourth - row.variance * row.variance) / n));
    }
  }
  // Neighbours, which come from one pair of uniforms or from two, are uncorrelated.
  const auto x = rows[2].x.to_vector<double>();
  double pairs = 0, others = 0;
  for (size_t i = 0; i + 2 < x.size(); i += 2) {
    pairs += x[i] * x[i + 1] / (n / 2);
    others += x[i + 1] * x[i + 2] / (n / 2);
  }
  BOOST_TEST(std::abs(pairs) < 5 * std::sqrt(2.0 / n));
  BOOST_TEST(std::abs(others) < 5 * std::sqrt(2.0 / n));
}

BOOST_AUTO_TEST_CASE(integers_below_n_are_equally_likely) {
  Generator generator(2);
  constexpr int draws = 70000;
  for (uint64_t n : {uint64_t{1}, uint64_t{7}, uint64_t{10}}) {
    std::vector<double> count(n);
    for (int i = 0; i < draws; ++i) {
      const uint64_t x = generator.below(n);
      BOOST_REQUIRE(x < n);
      ++count[x];
    }
    const double expected = draws / static_cast<double>(n);
    for (double c : count) BOOST_TEST(std::abs(c - expected) < 5 * std::sqrt(expected) + 1e-9);
  }
  // For 3 2^30 a plain remainder of 32 bits would fall into the lower third half of the time.
  for (uint64_t n : {uint64_t{3} << 30, uint64_t{3} << 62}) {
    int lower = 0;
    for (int i = 0; i < draws; ++i) {
      const uint64_t x = generator.below(n);
      BOOST_REQUIRE(x < n);
      lower += x < n / 3;
    }
    BOOST_TEST(std::abs(lower - draws / 3.0) < 5 * std::sqrt(draws * 2.0 / 9));
  }
  const auto all = randint(INT64_MIN, INT64_MAX, {1000}, generator).to_vector<int64_t>();
  const auto negative = std::count_if(all.begin(), all.end(), [](int64_t x) { return x < 0; });
  BOOST_TEST(std::abs(static_cast<double>(negative) - 500) < 5 * std::sqrt(250.0));
}

BOOST_AUTO_TEST_CASE(permutations) {
  Generator generator(4);
  for (int64_t n : {0, 1, 2, 17}) {
    auto order = randperm(n, generator).to_vector<int64_t>();
    std::sort(order.begin(), order.end());
    std::vector<int64_t> expected(static_cast<size_t>(n));
    std::iota(expected.begin(), expected.end(), 0);
    BOOST_TEST(order == expected);
  }
  // All 6 orders of 3, equally often.
  std::vector<double> count(27);
  constexpr int draws = 30000;
  for (int i = 0; i < draws; ++i) {
    const auto p = randperm(3, generator).to_vector<int64_t>();
    ++count[static_cast<size_t>(9 * p[0] + 3 * p[1] + p[2])];
  }
  int orders = 0;
  for (double c : count) {
    if (c == 0) continue;
    ++orders;
    BOOST_TEST(std::abs(c - draws / 6.0) < 5 * std::sqrt(draws / 6.0));
  }
  BOOST_TEST(orders == 6);
}

BOOST_AUTO_TEST_CASE(bad_input) {
  using test::says;
  BOOST_CHECK_EXCEPTION(rand({3}, default_generator(), DType::i64), Error, says("rand: "));
  BOOST_CHECK_EXCEPTION(randn({3}, default_generator(), DType::boolean), Error, says("randn: "));
  BOOST_CHECK_EXCEPTION(uniform({3}, 2, 1), Error, says("uniform: low 2 is above high 1"));
  BOOST_CHECK_EXCEPTION(randint(4, 4, {3}), Error, says("[4, 4)"));
  BOOST_CHECK_EXCEPTION(randperm(-1), Error, says("-1"));
  BOOST_CHECK_EXCEPTION(default_generator().below(0), Error, says("below 0"));
}
