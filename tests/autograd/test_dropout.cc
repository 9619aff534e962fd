#define BOOST_TEST_MODULE dropout
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

#include "tests/checks.h"

using namespace gradus;
using test::says;

BOOST_AUTO_TEST_CASE(drops_with_probability_p_and_scales_the_rest) {
  constexpr int64_t n = 100000;
  for (double p : {0.1, 0.5, 0.8}) {
    Generator generator(1);
    const Tensor y = dropout(full({n}, 3), p, true, generator);
    double dropped = 0;
    for (float v : y.to_vector<float>()) {
      if (v == 0)
        ++dropped;
      else
        BOOST_REQUIRE(v == 3 * static_cast<float>(1 / (1 - p)));
    }
    BOOST_TEST(std::abs(dropped - p * n) < 5 * std::sqrt(n * p * (1 - p)));
  }
}

BOOST_AUTO_TEST_CASE(the_gradient_goes_where_the_value_went) {
  Tensor x = sample({30, 7}, 1, 0.5, 2);
  Tape tape;
  const Tensor y = dropout(x, 0.3);
  const Tensor u = sample({30, 7}, 2, 0.5, 2).set_requires_grad(false);
  const Tensor dx = tape.gradient(sum(y * u), x);
  for (int64_t i = 0; i < 30; ++i)
    for (int64_t j = 0; j < 7; ++j)
      BOOST_TEST(dx.at({i, j}) == (y.at({i, j}) == 0 ? 0 : u.at({i, j}) / (1 - 0.3)),
                 boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(draws_follow_the_generator) {
  const Tensor x = ones({200});
  Generator a(5), b(5), c(6);
  const auto first = dropout(x, 0.5, true, a).to_vector<float>();
  BOOST_TEST((dropout(x, 0.5, true, b).to_vector<float>() == first));
  BOOST_TEST((dropout(x, 0.5, true, b).to_vector<float>() != first));
  BOOST_TEST((dropout(x, 0.5, true, c).to_vector<float>() != first));
  // The elements of a view are drawn in row-major order.
  const Tensor wide = transpose(raw::reshape(x, {10, 20}));
  b = Generator(5);
  BOOST_TEST((dropout(wide, 0.5, true, b).to_vector<float>() == first));
}

BOOST_AUTO_TEST_CASE(identity_and_zeros) {
  Tensor x = sample({3, 4}, 1);
  Generator generator(1);
  const auto before = generator.state();
  Tape tape;
  for (const Tensor& y : {dropout(x, 0.5, false, generator), dropout(x, 0, true, generator)}) {
    BOOST_TEST(!y.is(x));
    BOOST_TEST(y.to_vector<double>() == x.to_vector<double>());
    BOOST_TEST(tape.gradient(sum(y), x).to_vector<double>() == std::vector<double>(12, 1.0));
  }
  BOOST_TEST((generator.state() == before));
  const Tensor y = dropout(x, 1, true, generator);
  BOOST_TEST(y.to_vector<double>() == std::vector<double>(12, 0.0));
  BOOST_TEST(tape.gradient(sum(y), x).to_vector<double>() == std::vector<double>(12, 0.0));
}

BOOST_AUTO_TEST_CASE(bad_input) {
  BOOST_CHECK_EXCEPTION(dropout(zeros({3}), -0.1), Error, says("-0.1 does not lie in [0, 1]"));
  BOOST_CHECK_EXCEPTION(dropout(zeros({3}), 1.5), Error, says("1.5"));
  BOOST_CHECK_EXCEPTION(dropout(zeros({3}, DType::i64), 0.5), Error, says("dropout: needs f32"));
}
