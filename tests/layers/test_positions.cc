#define BOOST_TEST_MODULE positions
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/positions.h>
#include <gradus/tensor/random.h>

#include <cmath>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

BOOST_AUTO_TEST_CASE(sinusoids_are_vaswanis) {
  const Tensor y = sinusoidal_positions(50, 8, DType::f64);
  for (int64_t t : {0, 1, 7, 49})
    for (int64_t i = 0; i < 4; ++i) {
      const double angle = static_cast<double>(t) / std::pow(10000, 2 * static_cast<double>(i) / 8);
      BOOST_TEST(std::abs(y.at({t, 2 * i}) - std::sin(angle)) < 1e-14);
      BOOST_TEST(std::abs(y.at({t, 2 * i + 1}) - std::cos(angle)) < 1e-14);
    }
  BOOST_CHECK_EXCEPTION(sinusoidal_positions(3, 5), Error, says("5 features"));
}

// What it is for: products depend on the distance alone, and lengths stay.
BOOST_AUTO_TEST_CASE(rotated_products_go_by_the_distance) {
  Generator generator(1);
  const Tensor q = randn({1, 6}, generator, DType::f64), k = randn({1, 6}, generator, DType::f64);
  const auto product = [&](int64_t at_q, int64_t at_k) {
    return sum(rotary(q, at_q) * rotary(k, at_k)).item();
  };
  for (int64_t shift : {1, 5, 200}) {
    BOOST_TEST(std::abs(product(3 + shift, 1 + shift) - product(3, 1)) < 1e-12);
    BOOST_TEST(std::abs(product(shift, shift) - sum(q * k).item()) < 1e-12);
  }
  BOOST_TEST(std::abs(product(3, 1) - product(4, 1)) > 1e-3);
}

BOOST_AUTO_TEST_CASE(later_positions_go_on_from_earlier_ones) {
  Generator generator(1);
  const Tensor x = randn({2, 3, 7, 4}, generator, DType::f64);
  check_close("y", concat({rotary(slice(x, 2, 0, 3), 10), rotary(slice(x, 2, 3, 7), 13)}, 2),
              rotary(x, 10).to_vector<double>(), 0);
  BOOST_CHECK_EXCEPTION(rotary(ones({2, 3})), Error, says("rotary: x is (2, 3)"));
  BOOST_CHECK_EXCEPTION(rotary(ones({4})), Error, says("rotary: x is (4,)"));
  BOOST_CHECK_EXCEPTION(rotary(ones({2, 4}), -1), Error, says("from -1 on"));
  BOOST_CHECK_EXCEPTION(rotary(ones({2, 4}), 0, 0), Error, says("the base 0"));
}
