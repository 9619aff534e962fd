#define BOOST_TEST_MODULE update_kernels
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/update/update.h>
#include <gradus/kernels/vector/math.h>
#include <gradus/tensor/runtime.h>

#include <boost/mpl/list.hpp>
#include <random>

#include "tests/kernels/kernel_checks.h"

using namespace gradus;
using namespace gradus::kernels;
using namespace gradus::test;
using Scalars = boost::mpl::list<float, double>;

namespace {

template <class T>
Values<T> random(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(0.5f, 1.5f);
  Values<T> x(static_cast<size_t>(n));
  for (T& v : x) v = uniform(generator);  // the same in f32 and f64
  return x;
}

/// Two arrays that change and one that does not; all kinds of arithmetic.
template <class T>
auto rule(bool flag) {
  return [flag, half = T(0.5)](T& x, T& y, T c) {
    y = c > 1 ? half * y + c * c : y - c;
    if (flag) x -= y / (math::sqrt(c) + half);
  };
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_rule_is_applied_to_every_element_at_every_level, T, Scalars) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    for (bool flag : {false, true}) {
      for (int64_t n : {0, 1, 7, 16, 33, 131}) {
        BOOST_TEST_CONTEXT(name(isa) << " flag " << flag << " n " << n) {
          const Values<T> c = random<T>(n + 1, 1);
          Values<T> x = random<T>(n + 1, 2), y = random<T>(n + 1, 3);
          Values<Exact> exact_x = as<Exact>(x), exact_y = as<Exact>(y);
          for (size_t i = 0; i < static_cast<size_t>(n); ++i) {  // not the one after
            const Exact ci = c[i];
            exact_y[i] = ci > 1 ? exact_y[i] / 2 + ci * ci : exact_y[i] - ci;
            if (flag) exact_x[i] -= exact_y[i] / (std::sqrt(ci) + Exact(0.5));
          }
          update_at(isa, n, rule<T>(flag), x.data(), y.data(), c.data());
          check_close(x, exact_x, 4);
          check_close(y, exact_y, 4);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(threads_share_the_elements, T, Scalars) {
  const int64_t n = 40001;
  const Values<T> c = random<T>(n, 1);
  Values<T> one[2] = {random<T>(n, 2), random<T>(n, 3)};
  update_at(active_isa(), n, rule<T>(true), one[0].data(), one[1].data(), c.data());
  for (int count : {1, 2, 3}) {
    set_threads(count);
    Values<T> x = random<T>(n, 2), y = random<T>(n, 3);
    update(n, 1 << 13, rule<T>(true), x.data(), y.data(), c.data());
    BOOST_TEST(same_bits(x, one[0]));
    BOOST_TEST(same_bits(y, one[1]));
  }
}
