#define BOOST_TEST_MODULE softmax_kernels
#include <gradus/base/error.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/softmax/naive.h>
#include <gradus/kernels/softmax/softmax.h>
#include <gradus/kernels/softmax/table.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/math/differentiation/autodiff.hpp>
#include <boost/mpl/list.hpp>
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/checks.h"
#include "tests/kernels/kernel_checks.h"

using namespace gradus::test;
using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;
using Dual = decltype(boost::math::differentiation::make_fvar<double, 1>(0));

namespace {

Values<double> random(int64_t n, double scale, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  Values<double> x(static_cast<size_t>(n));
  for (double& v : x) v = static_cast<float>(normal(generator));  // the same in f32 and f64
  return x;
}

struct Problem {
  Problem(int64_t n, int64_t features)
      : rows(n), d(features), x(random(n * d, 3, 1)), dy(random(n * d, 1, 2)), w(random(d, 1, 3)) {
    std::mt19937 generator(4);
    for (double& v : w) v = static_cast<float>(std::abs(v) + 0.25);
    for (int64_t i = 0; i < n && d > 0; ++i)
      labels.push_back(i % 5 == 2 ? -100 : static_cast<int64_t>(generator()) % d);
    for (size_t i = 1; i < x.size(); i += 7)  // beyond f32's exp
      x[i] = static_cast<float>(x[i] + (i % 2 ? 60 : -200));
  }
  int64_t rows, d;
  Values<double> x, dy, w;
  Values<int64_t> labels;
};

template <class T>
struct Result {
  explicit Result(const Problem& p)
      : y(p.x.size()), dx(y), log_y(y), log_dx(y), sums(static_cast<size_t>(p.rows)) {}
  bool operator==(const Result& o) const {
    return same_bits(y, o.y) && same_bits(dx, o.dx) && same_bits(log_y, o.log_y) &&
           same_bits(log_dx, o.log_dx) && same_bits(sums, o.sums);
  }
  Values<T> y, dx, log_y, log_dx, sums;
};

template <class T>
Result<T> run(const Problem& p) {
  const Values<T> x = as<T>(p.x), dy = as<T>(p.dy);
  Result<T> r(p);
  softmax(p.rows, p.d, x.data(), r.y.data());
  softmax_backward(p.rows, p.d, r.y.data(), dy.data(), r.dx.data());
  log_softmax(p.rows, p.d, x.data(), r.log_y.data());
  log_softmax_backward(p.rows, p.d, r.log_y.data(), dy.data(), r.log_dx.data());
  logsumexp(p.rows, p.d, x.data(), r.sums.data());
  return r;
}

Result<Exact> define(const Problem& p) {
  const Values<Exact> x = as<Exact>(p.x), dy = as<Exact>(p.dy);
  Result<Exact> r(p);
  naive::softmax(p.rows, p.d, x.data(), r.y.data());
  naive::softmax_backward(p.rows, p.d, r.y.data(), dy.data(), r.dx.data());
  naive::log_softmax(p.rows, p.d, x.data(), r.log_y.data());
  naive::log_softmax_backward(p.rows, p.d, r.log_y.data(), dy.data(), r.log_dx.data());
  for (int64_t i = 0; i < p.rows; ++i)
    r.sums[static_cast<size_t>(i)] = naive::logsumexp(p.d, x.data() + i * p.d);
  return r;
}

template <class T>
void compare(const Result<T>& r, const Result<Exact>& exact) {
  check_close(r.y, exact.y, 4);
  check_close(r.dx, exact.dx, 16);
  check_close(r.log_y, exact.log_y, 4);
  check_close(r.log_dx, exact.log_dx, 64);  // the sum of dy is up to 100
  check_close(r.sums, exact.sums, 4);
}

const int64_t kShapes[][2] = {{0, 5},    {1, 1},    {3, 1},    {5, 2},   {131, 3}, {300, 10},
                              {7, 15},   {7, 16},   {7, 17},   {5, 64},  {9, 67},  {3, 1000},
                              {3, 2047}, {3, 2048}, {3, 2049}, {2, 5003}};

/// The loss of every row, and their sum.
struct Loss {
  Values<Exact> rows;
  Exact total_weight, sum;
};

Loss define_loss(const Problem& p, bool weighted, const CrossEntropyOptions& options) {
  const Values<Exact> x = as<Exact>(p.x), w = as<Exact>(p.w);
  Loss loss;
  loss.rows.resize(static_cast<size_t>(p.rows));
  loss.total_weight =
      naive::cross_entropy(p.rows, p.d, x.data(), p.labels.data(), weighted ? w.data() : nullptr,
                           options, loss.rows.data());
  loss.sum = 0;
  for (Exact v : loss.rows) loss.sum += v;
  return loss;
}

/// d(sum g_i l_i)/dx by the definition in dual numbers, g = 1 / total weight for the mean.
Values<Exact> define_loss_gradient(const Problem& p, const Values<double>& w,
                                   const CrossEntropyOptions& options, const Values<double>& g) {
  Values<Exact> dx(p.x.size());
  const Values<Dual> dual_w = as<Dual>(w);
  for (size_t k = 0; k < p.x.size(); ++k) {
    Values<Dual> x = as<Dual>(p.x), loss(static_cast<size_t>(p.rows));
    x[k] = boost::math::differentiation::make_fvar<double, 1>(p.x[k]);
    naive::cross_entropy(p.rows, p.d, x.data(), p.labels.data(),
                         w.empty() ? nullptr : dual_w.data(), options, loss.data());
    dx[k] = 0;
    for (size_t i = 0; i < loss.size(); ++i)
      dx[k] += static_cast<Exact>(g[i] * loss[i].derivative(1));
  }
  return dx;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(softmax_is_its_definition, T, Scalars) {
  set_threads(2);
  for (const auto& [rows, d] : kShapes) {
    BOOST_TEST_CONTEXT(rows << "x" << d) {
      const Problem p(rows, d);
      compare(run<T>(p), define(p));
    }
  }
  run<T>(Problem(3, 0));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(softmax_at_every_level, T, Scalars) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    const SoftmaxKernels<T>& table = table_for<SoftmaxKernels<T>>(isa);
    for (const auto& [rows, d] : kShapes) {
      BOOST_TEST_CONTEXT(name(isa) << " " << rows << "x" << d) {
        const Problem p(rows, d);
        const Values<T> x = as<T>(p.x), dy = as<T>(p.dy), w = as<T>(p.w);
        Result<T> r(p);
        Values<T> shift(r.sums.size()), twice(r.sums.size(), T(2)), doubled(x.size());
        table.softmax(rows, d, nullptr, x.data(), r.y.data(), false);
        table.softmax(rows, d, twice.data(), x.data(), doubled.data(), false);
        table.softmax_backward(rows, d, r.y.data(), dy.data(), r.dx.data(), false);
        table.log_softmax(rows, d, x.data(), r.log_y.data());
        table.log_softmax_backward(rows, d, r.log_y.data(), dy.data(), r.log_dx.data());
        table.log_sums(rows, d, x.data(), shift.data(), r.sums.data());
        for (size_t i = 0; i < r.sums.size(); ++i) r.sums[i] += shift[i];
        const Result<Exact> exact = define(p);
        compare(r, exact);
        for (size_t k = 0; k < x.size(); ++k) BOOST_TEST(doubled[k] == 2 * r.y[k]);
        Exact dot = 0, size = 1;
        for (size_t j = 0; rows > 0 && j < w.size(); ++j) {
          const Exact term = static_cast<Exact>(w[j]) * (static_cast<Exact>(x[j]) - 1);
          dot += term, size += std::abs(term);
        }
        const double sum = rows > 0 ? table.weighted_sum(d, T(1), w.data(), x.data()) : 0;
        // A rounding of x - shift, and of each of d / 16 additions of products.
        const double roundings = 3 + static_cast<double>(d) / 32;
        BOOST_TEST(std::abs(static_cast<Exact>(sum) - dot) / size <
                   roundings * std::numeric_limits<T>::epsilon());
        Values<T> less = w;
        table.subtract(d, T(0.5), w.data(), less.data());
        for (size_t j = 0; j < w.size(); ++j) BOOST_TEST(less[j] == w[j] / 2);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(streamed_results_are_the_same, T, Scalars) {
  set_threads(2);
  for (const auto& [rows, d] : {std::pair<int64_t, int64_t>{2100, 512}, {1200, 1001}}) {
    const Problem p(rows, d);
    const Values<T> x = as<T>(p.x), dy = as<T>(p.dy);
    Values<T> y(x.size()), dx(x.size());
    const SoftmaxKernels<T>& table = kernels::kernels<SoftmaxKernels<T>>();
    table.softmax(rows, d, nullptr, x.data(), y.data(), false);
    table.softmax_backward(rows, d, y.data(), dy.data(), dx.data(), false);
    StreamedTo<T> streamed_y(y), streamed_dx(dx);
    for (int64_t offset : {0, 1}) {
      softmax(rows, d, x.data(), streamed_y.block.data() + offset);
      softmax_backward(rows, d, y.data(), dy.data(), streamed_dx.block.data() + offset);
      streamed_y.check_at(offset);
      streamed_dx.check_at(offset);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(softmax_is_the_same_on_any_number_of_threads, T, Scalars) {
  for (const auto& [rows, d] : {std::pair<int64_t, int64_t>{3001, 10}, {301, 130}, {5, 9001}}) {
    const Problem p(rows, d);
    set_threads(1);
    const Result<T> one = run<T>(p);
    for (int count : {2, 3}) {
      set_threads(count);
      BOOST_TEST((run<T>(p) == one));
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(infinities_and_nan, T, Scalars) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  for (int64_t d : {3, 19, 3000}) {
    const auto n = static_cast<size_t>(d);
    Values<T> x(4 * n, -inf), y(x), log_y(x), sums(4);
    x[n] = 2, x[n + 1] = 2;  // beside these, masked
    x[2 * n + 2] = inf;
    x[3 * n] = 1, x[4 * n - 1] = nan;
    softmax(4, d, x.data(), y.data());
    log_softmax(4, d, x.data(), log_y.data());
    logsumexp(4, d, x.data(), sums.data());
    for (size_t j = 0; j < n; ++j) {
      BOOST_TEST((std::isnan(y[j]) && std::isnan(log_y[j])));
      BOOST_TEST(y[n + j] == (j < 2 ? T(0.5) : T(0)));
      BOOST_TEST(
          (j < 2 ? std::abs(log_y[n + j] + std::log(T(2))) < T(1e-6) : log_y[n + j] == -inf));
      BOOST_TEST((std::isnan(y[2 * n + j]) && std::isnan(y[3 * n + j])));
    }
    BOOST_TEST(sums[0] == -inf);
    BOOST_TEST(std::abs(sums[1] - 2 - std::log(T(2))) < T(1e-6));
    BOOST_TEST(sums[2] == inf);
    BOOST_TEST(std::isnan(sums[3]));
  }
}

BOOST_AUTO_TEST_CASE(the_naive_gradients_are_those_of_the_definitions) {
  const Problem p(3, 5);
  const Values<double> x = random(15, 1, 9);
  Values<double> y(15), log_y(15), dx(15), log_dx(15);
  naive::softmax(3, 5, x.data(), y.data());
  naive::log_softmax(3, 5, x.data(), log_y.data());
  naive::softmax_backward(3, 5, y.data(), p.dy.data(), dx.data());
  naive::log_softmax_backward(3, 5, log_y.data(), p.dy.data(), log_dx.data());
  for (size_t k = 0; k < x.size(); ++k) {
    Values<Dual> at = as<Dual>(x), dual_y(15), dual_log_y(15);
    at[k] = boost::math::differentiation::make_fvar<double, 1>(x[k]);
    naive::softmax(3, 5, at.data(), dual_y.data());
    naive::log_softmax(3, 5, at.data(), dual_log_y.data());
    double sum = 0, log_sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      sum += p.dy[i] * dual_y[i].derivative(1);
      log_sum += p.dy[i] * dual_log_y[i].derivative(1);
    }
    BOOST_TEST(std::abs(sum - dx[k]) < 1e-14);
    BOOST_TEST(std::abs(log_sum - log_dx[k]) < 1e-14);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(cross_entropy_is_its_definition, T, Scalars) {
  set_threads(2);
  for (const auto& [rows, d] : kShapes) {
    for (int kind = 0; kind < 4 && rows > 0; ++kind) {
      const Problem p(rows, d);
      const bool weighted = kind & 1;
      const Values<T> x = as<T>(p.x), w = as<T>(p.w);
      const CrossEntropyOptions options{kind & 2 ? 0.3 : 0.0, -100};
      const Loss exact = define_loss(p, weighted, options);
      for (bool each : {false, true}) {
        Values<T> loss(static_cast<size_t>(rows));
        const CrossEntropyTotals totals =
            cross_entropy(rows, d, x.data(), p.labels.data(), weighted ? w.data() : nullptr,
                          options, each ? loss.data() : nullptr);
        BOOST_TEST_CONTEXT(rows << "x" << d << " kind " << kind) {
          BOOST_TEST(std::abs(static_cast<Exact>(totals.weight) / exact.total_weight - 1) < 1e-12);
          check_close(Values<T>{static_cast<T>(totals.loss)}, {exact.sum}, 8);
          check_close(Values<T>{static_cast<T>(totals.loss / totals.weight)},
                      {exact.sum / exact.total_weight}, 8);
          if (each) check_close(loss, exact.rows, 8);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(cross_entropys_gradient_is_its_definition, T, Scalars) {
  set_threads(2);
  for (const auto& [rows, d] : kShapes) {
    for (int kind = 0; kind < 4 && rows > 0 && d <= 1000; ++kind) {
      Problem p(rows, d);
      if (!(kind & 1)) p.w.clear();
      const bool small = rows * d <= 200;  // dual numbers take a pass for each entry
      const Values<T> x = as<T>(p.x), w = as<T>(p.w);
      const Values<Exact> exact_x = as<Exact>(p.x), exact_w = as<Exact>(p.w);
      Values<double> dloss(p.dy.begin(), p.dy.begin() + rows);
      const Values<T> g = as<T>(dloss);
      const CrossEntropyOptions options{kind & 2 ? 0.3 : 0.0, -100};
      for (double divisor : {1.0, 17.25})
        for (bool each : {false, true})
          BOOST_TEST_CONTEXT(rows << "x" << d << " kind " << kind << " each " << each) {
            Values<double> row_g(dloss);
            if (!each) std::fill(row_g.begin(), row_g.end(), dloss[0]);
            for (double& v : row_g) v /= divisor;
            Values<Exact> exact(x.size()), exact_g = as<Exact>(row_g);
            naive::cross_entropy_backward(rows, d, exact_x.data(), p.labels.data(),
                                          w.empty() ? nullptr : exact_w.data(), options,
                                          exact_g.data(), exact.data());
            Values<T> dx(x.size(), T(7));
            cross_entropy_backward(rows, d, x.data(), p.labels.data(),
                                   w.empty() ? nullptr : w.data(), options,
                                   {g.data(), each, divisor}, dx.data());
            check_close(dx, exact, 8);
            if (small) check_close(dx, define_loss_gradient(p, p.w, options, row_g), 8);
          }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(softmax_share_is_its_definition, T, Scalars) {
  for (int kind = 0; kind < 4; ++kind) {
    const Problem p(131, 7);
    const Values<T> w = as<T>(p.w);
    const Values<Exact> exact_w = as<Exact>(p.w);
    const CrossEntropyOptions options{kind & 2 ? 0.3 : 0.0, -100};
    Values<T> a(131);
    Values<Exact> exact(131);
    softmax_share(131, 7, p.labels.data(), kind & 1 ? w.data() : nullptr, options, 3.5, a.data());
    naive::softmax_share(131, 7, p.labels.data(), kind & 1 ? exact_w.data() : nullptr, options, 3.5,
                         exact.data());
    check_close(a, exact, 2);
  }
}

namespace {

/// Enough digits that what e^-100 adds to 1 has those of f64.
using Big = boost::multiprecision::number<boost::multiprecision::cpp_bin_float<80>>;

/// Rows whose largest element lies `peak` above the others', at different places, in f32's numbers.
struct Peaks {
  Peaks(int64_t features, double by)
      : rows(features > 100 ? 2 : 6), d(features), peak(by), x(random(rows * d, 1, 9)) {
    for (int64_t i = 0; i < rows; ++i) {
      Values<double>::iterator row = x.begin() + i * d, top = row + i * (d - 1) / (rows - 1);
      for (int64_t j = 0; j < d; ++j) row[j] = static_cast<float>(std::min(row[j], 0.5));
      *top = static_cast<float>(1 + peak);
      const double shift = i % 2 ? *top : 0;  // so that half of the rows have their largest at 0
      for (int64_t j = 0; j < d; ++j) row[j] = static_cast<float>(row[j] - shift);
      labels.push_back(i % 3 == 2 ? (i + d / 2) % d : top - row);
    }
  }
  int64_t rows, d;
  double peak;
  Values<double> x;
  Values<int64_t> labels;
};

enum class Of { itself, its_row };

/// Each x is right but for some roundings, of itself or where terms of both signs are added of all
/// in its row, and for the rounding of a difference in an exponent.
template <class T>
void check_tails(const char* what, const Peaks& p, const Values<T>& x, const Values<Big>& exact,
                 Of of = Of::itself, double least = 0) {
  BOOST_TEST_REQUIRE(x.size() == exact.size());
  const Big eps = std::numeric_limits<T>::epsilon(), bound = eps * (10 + p.peak),
            quantum = 4 * static_cast<double>(std::numeric_limits<T>::min()) * eps;
  const size_t d = x.size() / static_cast<size_t>(p.rows);
  for (size_t i = 0; i < x.size(); ++i) {
    Big size = 0;
    for (size_t j = i / d * d; j < i / d * d + d; ++j)
      if (j == i || of == Of::its_row) size += abs(exact[j]);
    size = std::max<Big>(size, least);
    const Big off = abs(Big(x[i]) - exact[i]);
    if (off <= bound * size + quantum) continue;
    BOOST_ERROR(what << " of " << p.d << ", peak " << p.peak << ", element " << i << " is " << x[i]
                     << ", not " << static_cast<double>(exact[i]) << ": off by "
                     << static_cast<double>(Big(off / size / eps)) << " eps");
    return;
  }
}

}  // namespace

// What a row's largest element leaves to the others is far below the rounding of 1. Sanitizers see
// such rows in the other cases, without these digits.
BOOST_TEST_DECORATOR(*test::repeats)
BOOST_AUTO_TEST_CASE_TEMPLATE(tails_are_right_to_the_last_digits, T, Scalars) {
  for (const int64_t d : {1, 2, 3, 8, 17, 131, 2100})
    for (const double peak : {0.0, 0.7, 2.0, 5.0, 12.0, 20.0, 60.0, 100.0}) {
      if (d > 100 && peak != 12) continue;
      const Peaks p(d, peak);
      const Values<T> x = as<T>(p.x);
      const Values<Big> big_x = as<Big>(p.x);
      const auto n = x.size(), rows = static_cast<size_t>(p.rows);
      Values<T> y(n), log_y(n), sums(rows), dx(n), losses(rows);
      Values<Big> big_y(n), big_log_y(n), big_sums(rows), big_dx(n), big_losses(rows);
      softmax(p.rows, d, x.data(), y.data());
      log_softmax(p.rows, d, x.data(), log_y.data());
      logsumexp(p.rows, d, x.data(), sums.data());
      naive::log_softmax(p.rows, d, big_x.data(), big_log_y.data());
      for (size_t i = 0; i < n; ++i) big_y[i] = exp(big_log_y[i]);
      for (size_t i = 0; i < rows; ++i) {
        const size_t first = i * static_cast<size_t>(d);
        big_sums[i] = big_x[first] - big_log_y[first];
        big_losses[i] = -big_log_y[first + static_cast<size_t>(p.labels[i])];
        if (i % 2 == 0) big_sums[i] = 0, sums[i] = 0;  // their maximum is not 0
      }
      check_tails("softmax", p, y, big_y);
      check_tails("log_softmax", p, log_y, big_log_y);
      check_tails("logsumexp", p, sums, big_sums);
      cross_entropy<T>(p.rows, d, x.data(), p.labels.data(), nullptr, {}, losses.data());
      check_tails("cross_entropy", p, losses, big_losses);

      // Gradients of one element of y, those of the loss, and of all of y.
      Values<double> one(n), all = random(p.rows * d, 1, 5), same(n, 1);
      for (size_t i = 0; i < rows; ++i)
        one[i * static_cast<size_t>(d) + static_cast<size_t>(p.labels[i])] = -0.75;
      for (size_t i = 0; i < n; i += 2) same[i] = static_cast<float>(1 + 1e-4);
      for (const Values<double>& dy : {one, all, same}) {
        const Of of = &dy == &one || dy == one ? Of::itself : Of::its_row;
        const Values<T> g = as<T>(dy);
        const Values<Big> big_g = as<Big>(dy);
        softmax_backward(p.rows, d, y.data(), g.data(), dx.data());
        naive::softmax_backward(p.rows, d, big_y.data(), big_g.data(), big_dx.data());
        check_tails("softmax's gradient", p, dx, big_dx, of);
        if (dy == same) continue;
        log_softmax_backward(p.rows, d, log_y.data(), g.data(), dx.data());
        for (int64_t i = 0; i < p.rows; ++i) {
          Big sum = 0;
          for (int64_t j = 0; j < d; ++j) sum += big_g[static_cast<size_t>(i * d + j)];
          for (int64_t j = 0; j < d; ++j) {
            const auto k = static_cast<size_t>(i * d + j);
            big_dx[k] = big_g[k] - big_y[k] * sum;
          }
        }
        check_tails("log_softmax's gradient", p, dx, big_dx, of);
        if (dy != one) continue;
        const T dloss = T(0.75);
        cross_entropy_backward<T>(p.rows, d, x.data(), p.labels.data(), nullptr, {},
                                  {&dloss, false, 1}, dx.data());
        check_tails("cross_entropy's gradient", p, dx, big_dx);
      }
    }
}

BOOST_TEST_DECORATOR(*test::repeats)
BOOST_AUTO_TEST_CASE_TEMPLATE(tails_with_weights_and_smoothing, T, Scalars) {
  for (const int64_t d : {2, 3, 10})
    for (const double peak : {0.7, 5.0, 20.0, 60.0})
      for (const double smoothing : {0.0, 1e-9, 0.1, 1.0}) {
        Peaks p(d, peak);
        p.labels[1] = 7;
        const CrossEntropyOptions options{smoothing, 7 + (d > 7 ? 100 : 0)};
        if (d > 7) p.labels[1] = options.ignore_index;
        Values<double> weight(static_cast<size_t>(d));
        for (size_t j = 0; j < weight.size(); ++j) weight[j] = 0.5 + static_cast<double>(j % 3);
        const Values<T> x = as<T>(p.x), w = as<T>(weight), g(x.size(), T(1.5));
        const Values<Big> big_x = as<Big>(p.x), big_w = as<Big>(weight), big_g(x.size(), Big(1.5));
        Values<T> loss(6), dx(x.size());
        Values<Big> big_loss(6), big_dx(x.size());
        cross_entropy(p.rows, d, x.data(), p.labels.data(), w.data(), options, loss.data());
        naive::cross_entropy(p.rows, d, big_x.data(), p.labels.data(), big_w.data(), options,
                             big_loss.data());
        check_tails("cross_entropy", p, loss, big_loss);
        cross_entropy_backward(p.rows, d, x.data(), p.labels.data(), w.data(), options,
                               {g.data(), true, 1}, dx.data());
        naive::cross_entropy_backward(p.rows, d, big_x.data(), p.labels.data(), big_w.data(),
                                      options, big_g.data(), big_dx.data());
        // With smoothing what is subtracted from p may be as large.
        check_tails("cross_entropy's gradient", p, dx, big_dx,
                    smoothing == 0 ? Of::itself : Of::its_row, 0.5 * smoothing);
      }
}

// The others' dy overflow together, not with the dominating element's.
BOOST_AUTO_TEST_CASE_TEMPLATE(tails_of_the_largest_gradients, T, Scalars) {
  const double most = std::numeric_limits<T>::max(), p[] = {0.78, 0.11, 0.11},
               g[] = {-0.81, 0.525, 0.525};
  T y[3], dy[3], dx[3];
  for (int j = 0; j < 3; ++j)
    y[j] = static_cast<T>(std::log(p[j])), dy[j] = static_cast<T>(g[j] * most);
  log_softmax_backward<T>(1, 3, y, dy, dx);
  for (int j = 0; j < 3; ++j)
    BOOST_TEST(std::abs(static_cast<double>(dx[j]) / most - (g[j] - p[j] * 0.24)) < 1e-6);
}

// The difference of two logits, and what a class weight of 0 makes of it.
BOOST_AUTO_TEST_CASE_TEMPLATE(losses_of_the_largest_logits, T, Scalars) {
  const T most = std::numeric_limits<T>::max();
  const T x[] = {most, -most, 0, 0, 1, 1, 2, 2}, w[] = {1, 0};
  const int64_t labels[] = {1, 0, 1, 1};
  for (const double smoothing : {0.0, 0.5}) {
    T loss[4];
    const CrossEntropyOptions options{smoothing, -100};
    const auto sums = cross_entropy<T>(4, 2, x, labels, w, options, loss);
    BOOST_TEST(sums.weight == 1);
    BOOST_TEST(loss[0] == 0);
    const double log_2 = std::log(2.0) * (smoothing > 0 ? 0.75 + 2 * 0.25 : 1);
    BOOST_TEST(std::abs(sums.loss - log_2) < 1e-6);
  }
  if (sizeof(T) == sizeof(double)) return;
  const auto sums = cross_entropy<T>(4, 2, x, labels, nullptr, {0.5, -100}, nullptr);
  BOOST_TEST(std::abs(sums.loss / 4 / (0.375 * static_cast<double>(most)) - 1) < 1e-6);
}

BOOST_AUTO_TEST_CASE(an_ignored_row_is_not_read_into_anything) {
  const double nan = std::nan("");
  const double x[] = {nan, nan, 1, 2};
  const int64_t labels[] = {5, 1};
  const CrossEntropyOptions options{0.1, 5};
  double dx[4];
  const double one = 1;
  CrossEntropyTotals totals = cross_entropy<double>(2, 2, x, labels, nullptr, options, nullptr);
  BOOST_TEST(totals.weight == 1);
  BOOST_TEST(std::isfinite(totals.loss));
  cross_entropy_backward<double>(2, 2, x, labels, nullptr, options, {&one, false, 1}, dx);
  BOOST_TEST((dx[0] == 0 && dx[1] == 0 && std::abs(dx[2] + dx[3]) < 1e-16 && dx[2] > 0));

  const int64_t none[] = {5, 5};
  totals = cross_entropy<double>(2, 2, x, none, nullptr, options, nullptr);
  BOOST_TEST((totals.weight == 0 && totals.loss == 0));
}

BOOST_AUTO_TEST_CASE(a_label_out_of_range_is_named) {
  const float x[9] = {};
  for (int64_t bad : {int64_t{-1}, int64_t{3}, int64_t{1} << 40}) {
    const int64_t labels[] = {0, bad, 2};
    try {
      cross_entropy<float>(3, 3, x, labels, nullptr, {}, nullptr);
      BOOST_ERROR("no error");
    } catch (const Error& error) {
      const std::string message = error.what();
      BOOST_TEST(message.find("label " + std::to_string(bad) + " of row 1") != std::string::npos);
      BOOST_TEST(message.find("3 classes") != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(cross_entropy_is_the_same_on_any_number_of_threads, T, Scalars) {
  const Problem p(5001, 11);
  const Values<T> x = as<T>(p.x), w = as<T>(p.w);
  const CrossEntropyOptions options{0.2, -100};
  const auto run_once = [&](int count) {
    set_threads(count);
    Values<T> result(x.size() + 1);
    const T one = 1;
    const CrossEntropyTotals totals =
        cross_entropy<T>(p.rows, p.d, x.data(), p.labels.data(), w.data(), options, nullptr);
    result.back() = static_cast<T>(totals.loss / totals.weight);
    cross_entropy_backward(p.rows, p.d, x.data(), p.labels.data(), w.data(), options,
                           {&one, false, totals.weight}, result.data());
    return result;
  };
  const Values<T> one = run_once(1);
  for (int count : {2, 3}) BOOST_TEST(same_bits(run_once(count), one));
}
