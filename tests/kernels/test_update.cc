#define BOOST_TEST_MODULE update_kernels
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/update/naive.h>
#include <gradus/kernels/update/table.h>
#include <gradus/kernels/update/update.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;

namespace {

template <class T>
using Values = std::vector<T>;

template <class T>
Values<T> random(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Values<T> x(static_cast<size_t>(n));
  for (T& v : x) v = normal(generator);  // the same in f32 and f64
  return x;
}

/// A parameter, what an optimizer keeps for it, and its gradients of three steps.
template <class T>
struct State {
  explicit State(int64_t size) : n(size), p(random<T>(n, 1)), a(p.size()), b(a), c(a) {
    for (unsigned step = 0; step < 3; ++step) g[step] = random<T>(n, 2 + step);
  }
  bool operator==(const State& o) const {
    const auto same = [this](const Values<T>& x, const Values<T>& y) {
      return n == 0 || std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
    };
    return same(p, o.p) && same(a, o.a) && same(b, o.b) && same(c, o.c);
  }
  int64_t n;
  Values<T> p, a, b, c, g[3];
};

/// Every kind of step, by number.
constexpr int kKinds = 12;
template <class T, class Sgd, class Adam, class Rmsprop>
void run(int kind, State<T>& s, Sgd sgd, Adam adam, Rmsprop rmsprop) {
  for (int t = 0; t < 3; ++t) {
    const T* g = s.g[t].data();
    const double scale = kind % 2 ? 0.75 : 1;
    if (kind < 4) {
      const SgdStep step{0.1, kind ? 0.9 : 0, kind == 2 ? 0.25 : 0, 0.05, kind == 3, t == 0, scale};
      sgd(s.n, g, s.p.data(), kind ? s.a.data() : nullptr, step);
    } else if (kind < 8) {
      const AdamStep step{0.1,
                          0.75,
                          0.9375,
                          1e-3,
                          kind < 6 ? 0.05 : 0,
                          kind % 4 > 1,
                          1 - std::pow(0.75, t + 1),
                          1 - std::pow(0.9375, t + 1),
                          scale};
      adam(s.n, g, s.p.data(), s.a.data(), s.b.data(), step);
    } else {
      const RmspropStep step{0.1, 0.875, 1e-3, 0.05, kind % 4 > 1 ? 0.75 : 0, scale};
      rmsprop(s.n, g, s.p.data(), s.a.data(), kind % 4 > 1 ? s.b.data() : nullptr,
              kind % 2 ? s.c.data() : nullptr, step);
    }
  }
}

State<double> define(int kind, int64_t n) {
  State<double> s(n);
  run(kind, s, naive::sgd<double>, naive::adam<double>, naive::rmsprop<double>);
  return s;
}

/// Within `bound` epsilons of |exact| + 1, which is more than any of the values added up.
template <class T>
void check_close(const State<T>& s, const State<double>& exact, double bound) {
  const auto check = [bound](const Values<T>& x, const Values<double>& y) {
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = std::abs(static_cast<double>(x[i]) - y[i]) / (std::abs(y[i]) + 1);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
    BOOST_TEST(worst / static_cast<double>(std::numeric_limits<T>::epsilon()) <= bound);
  };
  check(s.p, exact.p);
  check(s.a, exact.a);
  check(s.b, exact.b);
  check(s.c, exact.c);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(steps_are_their_definitions_at_every_level, T, Scalars) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    const UpdateKernels<T>& table = table_for<UpdateKernels<T>>(isa);
    for (int kind = 0; kind < kKinds; ++kind) {
      for (int64_t n : {0, 1, 7, 16, 33, 131}) {
        BOOST_TEST_CONTEXT(name(isa) << " kind " << kind << " n " << n) {
          State<T> s(n);
          run(kind, s, table.sgd, table.adam, table.rmsprop);
          check_close(s, define(kind, n), 32);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(steps_are_the_same_on_any_number_of_threads, T, Scalars) {
  for (int kind = 0; kind < kKinds; ++kind) {
    const int64_t n = 40001;
    set_threads(1);
    State<T> one(n);
    run(kind, one, sgd<T>, adam<T>, rmsprop<T>);
    check_close(one, define(kind, n), 128);
    for (int count : {2, 3}) {
      set_threads(count);
      State<T> s(n);
      run(kind, s, sgd<T>, adam<T>, rmsprop<T>);
      BOOST_TEST((s == one));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_gradient_that_does_not_change_keeps_centered_rmsprop_finite) {
  const float g[] = {0.1f, 1.3f, -7.77f, 1e-3f};
  float p[4] = {}, v[4] = {}, mean[4] = {};
  for (int t = 0; t < 3000; ++t)
    rmsprop<float>(4, g, p, v, nullptr, mean, {.lr = 1e-6, .alpha = 0.9, .eps = 1e-3});
  for (float x : p) BOOST_TEST(std::isfinite(x));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_of_squares, T, Scalars) {
  for (int64_t n : {0, 1, 7, 31, 32, 100, 1001, 300001}) {
    const Values<T> x = random<T>(n, 9);
    Values<long double> exact(x.begin(), x.end());
    const auto expected = static_cast<double>(naive::sum_of_squares(n, exact.data()));
    set_threads(1);
    const double one = sum_of_squares(n, x.data());
    BOOST_TEST(std::abs(one - expected) <= 1e-14 * expected);
    for (int count : {2, 3}) {
      set_threads(count);
      BOOST_TEST(sum_of_squares(n, x.data()) == one);
    }
    for (Isa isa : kLevels) {
      if (!supports(isa) || n > 70000) continue;
      const double sum = table_for<UpdateKernels<T>>(isa).sum_of_squares(n, x.data());
      BOOST_TEST(std::abs(sum - expected) <= 1e-14 * expected);
    }
  }
  const Values<T> large(100, T(1e30));  // whose squares f32 does not hold
  BOOST_TEST(std::abs(sum_of_squares<T>(100, large.data()) / 1e62 - 1) < 1e-6);
}
