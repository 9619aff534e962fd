#define BOOST_TEST_MODULE sampling
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/sampling.h>
#include <gradus/autograd/ops/shape.h>

#include <cmath>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> softmax_of(const std::vector<double>& logits) {
  std::vector<double> p;
  double sum = 0;
  for (double x : logits) sum += std::exp(x);
  for (double x : logits) p.push_back(std::exp(x) / sum);
  return p;
}

/// How often each index is drawn from these logits.
std::vector<double> counts_of(const Tensor& drawn, size_t size) {
  std::vector<double> counts(size, 0);
  for (int64_t i : drawn.to_vector<int64_t>()) ++counts[static_cast<size_t>(i)];
  return counts;
}

std::vector<bool> finite(const Tensor& x) {
  std::vector<bool> kept;
  for (double v : x.to_vector<double>()) kept.push_back(std::isfinite(v));
  return kept;
}

}  // namespace

// The inverse of the cumulative probabilities, at the generator's uniforms.
BOOST_AUTO_TEST_CASE(categorical_is_by_its_definition) {
  Generator values(3), generator(5), same(5);
  const Tensor logits = 3 * randn({50, 4, 7}, values, DType::f64);
  const Tensor drawn = categorical(logits, generator);
  BOOST_TEST((drawn.shape() == Shape{50, 4}));
  BOOST_TEST((drawn.dtype() == DType::i64));
  const std::vector<double> all = logits.to_vector<double>();
  const std::vector<int64_t> found = drawn.to_vector<int64_t>();
  for (size_t row = 0; row < 200; ++row) {
    const auto begin = all.begin() + static_cast<int64_t>(7 * row);
    const std::vector<double> p = softmax_of({begin, begin + 7});
    const double u = same.uniform();
    double sum = p[0];
    int64_t i = 0;
    while (sum <= u) sum += p[static_cast<size_t>(++i)];
    BOOST_TEST(found[row] == i, "row " << row);
  }
}

BOOST_AUTO_TEST_CASE(categorical_draws_as_often_as_softmax_says) {
  const std::vector<double> logits{1, -2, 0.5, -kInf, 2, 900 - 900.7};
  constexpr int64_t kDraws = 100000;
  Generator generator(1);
  const auto size = static_cast<int64_t>(logits.size());
  for (double shift : {0., 700., -5000.}) {  // a shift changes nothing, nor overflows
    const Tensor drawn =
        categorical(expand(Tensor::from(logits, {size}) + shift, {kDraws, size}), generator);
    const std::vector<double> counts = counts_of(drawn, logits.size()), p = softmax_of(logits);
    double chi_square = 0;  // of 4 degrees of freedom: above 18.5 once in a thousand
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] > 0)
        chi_square += std::pow(counts[i] - kDraws * p[i], 2) / (kDraws * p[i]);
      else
        BOOST_TEST(counts[i] == 0);
    }
    BOOST_TEST(chi_square < 18.5);
  }
}

BOOST_AUTO_TEST_CASE(bernoulli_of_a_tensor) {
  Generator one(2), other(2);
  BOOST_TEST(bernoulli(full({40, 5}, 0.3, DType::f64), one).to_vector<double>() ==
             bernoulli({40, 5}, 0.3, other).to_vector<double>());
  const Tensor p = expand(Tensor::of({0., 0.25, 1.}), {10000, 3});
  const std::vector<double> often =
      mean(raw::cast(bernoulli(p, one), DType::f64), {0}).to_vector<double>();
  BOOST_TEST(often[0] == 0);
  BOOST_TEST(std::abs(often[1] - 0.25) < 0.02);  // 4.6 deviations
  BOOST_TEST(often[2] == 1);
  BOOST_CHECK_EXCEPTION(bernoulli(Tensor::of({{0.5, 0.5}, {0.5, 1.5}})), Error,
                        says("bernoulli: the probability 1.5 at (1, 1) of p (2, 2)"));
  BOOST_CHECK_EXCEPTION(bernoulli(full({2}, kNaN)), Error, says("bernoulli: the probability nan"));
}

BOOST_AUTO_TEST_CASE(the_largest_stay_and_of_equal_ones_the_first) {
  const Tensor x = Tensor::of({{1., 3., 2., 3., -kInf}, {0., 0., 0., 0., 0.}});
  BOOST_TEST((finite(keep_top_k(x, 1)) == std::vector<bool>{false, true, false, false, false, true,
                                                            false, false, false, false}));
  BOOST_TEST((finite(keep_top_k(x, 3)) ==
              std::vector<bool>{false, true, true, true, false, true, true, true, false, false}));
  BOOST_TEST(keep_top_k(x, 9).to_vector<double>() == x.to_vector<double>());
}

BOOST_AUTO_TEST_CASE(the_fewest_of_enough_probability_stay) {
  // Probabilities 1/2, 1/4, 1/8, 1/16, 1/16, as exact as they may be.
  const double two = std::log(2.);
  const Tensor x = Tensor::of({-2 * two, -two, -3 * two, -4 * two, -4 * two});
  const std::pair<double, std::vector<bool>> cases[] = {
      {0, {false, true, false, false, false}},   {0.49, {false, true, false, false, false}},
      {0.51, {true, true, false, false, false}}, {0.74, {true, true, false, false, false}},
      {0.76, {true, true, true, false, false}},  {0.88, {true, true, true, true, false}},
      {0.95, {true, true, true, true, true}},    {1, {true, true, true, true, true}}};
  for (const auto& [p, kept] : cases) BOOST_TEST((finite(keep_top_p(x, p)) == kept), p);
  const Tensor far = Tensor::of({0., -800.});  // of probability 0 in f64
  BOOST_TEST(keep_top_p(far, 1).to_vector<double>() == far.to_vector<double>());
}

BOOST_AUTO_TEST_CASE(options_are_applied_one_after_the_other) {
  Generator values(3), one(4), other(4);
  const Tensor logits = 2 * randn({30, 9}, values, DType::f64);
  BOOST_TEST(sample_logits(logits, {.temperature = 0.7, .top_k = 6, .top_p = 0.8}, one)
                 .to_vector<double>() ==
             categorical(keep_top_p(keep_top_k(logits / 0.7, 6), 0.8), other).to_vector<double>());
  BOOST_TEST(sample_logits(logits, {}, one).to_vector<double>() ==
             categorical(logits, other).to_vector<double>());
  const auto before = one.state();
  BOOST_TEST(sample_logits(logits, {.temperature = 0}, one).to_vector<double>() ==
             argmax(logits, -1).to_vector<double>());
  BOOST_TEST((one.state() == before));  // nothing is drawn
  BOOST_TEST(sample_logits(Tensor::of({1., 2., 2.}), {.temperature = 0}).item() == 1);
  BOOST_TEST(sample_logits(logits, {.top_k = 1}, one).to_vector<double>() ==
             argmax(logits, -1).to_vector<double>());
}

BOOST_AUTO_TEST_CASE(rows_without_a_softmax_are_named) {
  for (const auto& [bad, text] : {std::pair{kNaN, "there is NaN"}, std::pair{kInf, "+inf"}}) {
    const Tensor x = Tensor::of({{1., 2.}, {bad, 2.}});
    BOOST_CHECK_EXCEPTION(categorical(x), Error, says("categorical: row 1 of the logits (2, 2)"));
    BOOST_CHECK_EXCEPTION(categorical(x), Error, says(text));
    BOOST_CHECK_EXCEPTION(keep_top_k(x, 1), Error, says("keep_top_k: row 1"));
    BOOST_CHECK_EXCEPTION(keep_top_p(x, 0.5), Error, says("keep_top_p: row 1"));
    BOOST_CHECK_EXCEPTION(sample_logits(x, {.temperature = 0}), Error, says("row 1"));
  }
  BOOST_CHECK_EXCEPTION(categorical(full({3, 2}, -kInf)), Error, says("all are -inf"));
  BOOST_CHECK_EXCEPTION(categorical(zeros({3, 0})), Error, says("nothing to choose from"));
  BOOST_CHECK_EXCEPTION(categorical(zeros({})), Error, says("nothing to choose from"));
  BOOST_CHECK_EXCEPTION(categorical(zeros({3}, DType::i64)), Error, says("categorical"));
  BOOST_TEST((categorical(zeros({0, 3})).shape() == Shape{0}));
  BOOST_CHECK_EXCEPTION(keep_top_k(zeros({3}), 0), Error, says("the 0 largest"));
  BOOST_CHECK_EXCEPTION(keep_top_p(zeros({3}), 1.5), Error, says("1.5"));
  BOOST_CHECK_EXCEPTION(sample_logits(zeros({3}), {.temperature = -1}), Error, says("of -1"));
}

// The largest less itself is 0, whatever it is divided by.
BOOST_AUTO_TEST_CASE(a_tiny_temperature_takes_the_largest) {
  Generator generator(1);
  for (const double temperature : {1e-2, 1e-30, 1e-40})
    for (const Tensor& logits :
         {Tensor::of({1, 3, 2}), Tensor::of({0, 1e38, 0}), Tensor::of({-1e38, -1e30, -3e38})}) {
      const Tensor y = sample_logits(logits, {.temperature = temperature}, generator);
      BOOST_TEST(y.item() == 1);
    }
}
