#define BOOST_TEST_MODULE norm_kernels
#include <gradus/base/memory.h>
#include <gradus/kernels/norm/naive.h>
#include <gradus/kernels/norm/norm.h>
#include <gradus/kernels/norm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/math/differentiation/autodiff.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "tests/checks.h"
#include "tests/kernels/kernel_checks.h"

using namespace gradus::test;
using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;
using Dual = decltype(boost::math::differentiation::make_fvar<double, 1>(0));

namespace {

constexpr double kEps = 1e-3;

/// An array of bool, which std::vector does not have.
struct Mask {
  Mask(int64_t n, unsigned seed) : values(new bool[static_cast<size_t>(n + 1)]) {
    std::mt19937 generator(seed);
    for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = generator() % 3 != 0;
  }
  const bool* data() const { return values.get(); }
  std::unique_ptr<bool[]> values;
};

Values<double> random(int64_t n, double mean, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(mean, 1);
  Values<double> x(static_cast<size_t>(n));
  for (double& v : x) v = static_cast<float>(normal(generator));  // the same in f32 and f64
  return x;
}

template <class T>
const T* pointer(const Values<T>& x) {
  return x.empty() ? nullptr : x.data();
}

/// A problem's numbers in T, and what a kernel is given of them.
template <class T>
struct Given {
  template <class Problem>
  explicit Given(const Problem& p) : x(as<T>(p.x)), dy(as<T>(p.dy)), w(as<T>(p.w)), b(as<T>(p.b)) {
    in = {x.data(), p.valid, pointer(w), pointer(b), p.relu};
  }
  Given(const Given&) = delete;
  Values<T> x, dy, w, b;
  NormInput<T> in;
};

/// What batch normalization is given: x and dy are NaN where they may not be read.
struct BatchProblem {
  BatchProblem(const Channels& shape, bool masked, bool affine, double center,
               bool before_relu = false)
      : s(shape),
        size(s.outer * s.channels * s.inner),
        mask(s.outer * s.inner, 7),
        relu(before_relu) {
    x = random(size, center, 1);
    dy = random(size, 0.3, 2);
    if (affine) w = random(s.channels, 1.5, 3);
    if (affine) b = random(s.channels, 0.5, 4);
    if (masked) valid = mask.data();
    for (int64_t k = 0; k < size && masked; ++k)
      if (!valid[k / (s.channels * s.inner) * s.inner + k % s.inner])
        x[static_cast<size_t>(k)] = dy[static_cast<size_t>(k)] = std::nan("");
    if (relu) clear_ties();
  }
  /// No gradient comes from where rounding decides whether the relu lets it pass.
  void clear_ties() {
    Values<double> y(dy), mean(static_cast<size_t>(s.channels)), var(mean);
    naive::batch_norm_stats(s, x.data(), valid, mean.data(), var.data());
    naive::batch_norm_normalize(s, kEps, {x.data(), valid, pointer(w), pointer(b)}, mean.data(),
                                var.data(), y.data());
    for (size_t k = 0; k < y.size(); ++k)
      if (std::abs(y[k]) < 1e-4 && !std::isnan(dy[k])) dy[k] = 0;
  }
  Channels s;
  int64_t size;
  Mask mask;
  const bool* valid = nullptr;
  bool relu;
  Values<double> x, dy, w, b;
};

template <class T>
struct BatchResult {
  explicit BatchResult(const BatchProblem& p)
      : y(static_cast<size_t>(p.size), T(7)),
        dx(y),
        dx_eval(y),
        mean(static_cast<size_t>(p.s.channels), T(7)),
        var(mean),
        rstd(mean),
        dw(mean),
        db(mean) {}
  bool operator==(const BatchResult& o) const {
    return count == o.count && same_bits(y, o.y) && same_bits(dx, o.dx) &&
           same_bits(dx_eval, o.dx_eval) && same_bits(mean, o.mean) && same_bits(var, o.var) &&
           same_bits(rstd, o.rstd) && same_bits(dw, o.dw) && same_bits(db, o.db);
  }
  NormGradients<T> gradients() { return {dx.data(), dw.data(), db.data()}; }
  Values<T> y, dx, dx_eval, mean, var, rstd, dw, db;
  int64_t count = -1;
};

template <class T>
BatchResult<T> run(const BatchProblem& p) {
  const Given<T> g(p);
  BatchResult<T> r(p);
  r.count = count_valid(p.s, g.in.valid);
  batch_norm(p.s, kEps, g.in, r.y.data(), r.mean.data(), r.var.data(), r.rstd.data());
  batch_norm_backward<T>(p.s, kEps, g.in, r.mean.data(), r.rstd.data(), g.dy.data(), r.gradients());
  batch_norm_backward_eval<T>(p.s, g.in, r.mean.data(), r.rstd.data(), g.dy.data(),
                              {r.dx_eval.data(), nullptr, nullptr});
  return r;
}

/// The definitions.
BatchResult<Exact> define(const BatchProblem& p) {
  BatchResult<Exact> r(p);
  const Given<Exact> g(p);
  NormInput<Exact> passed = g.in;
  passed.relu = false;
  r.count = naive::batch_norm_stats(p.s, g.x.data(), p.valid, r.mean.data(), r.var.data());
  naive::batch_norm_normalize(p.s, kEps, g.in, r.mean.data(), r.var.data(), r.y.data());
  naive::batch_norm_backward<Exact>(p.s, kEps, false, passed, r.mean.data(), r.var.data(),
                                    g.dy.data(), {r.dx_eval.data(), r.dw.data(), r.db.data()});
  naive::batch_norm_backward<Exact>(p.s, kEps, true, g.in, r.mean.data(), r.var.data(), g.dy.data(),
                                    r.gradients());
  return r;
}

const Channels kShapes[] = {{0, 3, 1},   {3, 0, 1},    {1, 1, 1},     {7, 1, 1},    {3, 5, 1},
                            {33, 10, 1}, {130, 17, 1}, {261, 70, 1},  {5, 600, 1},  {700, 131, 1},
                            {0, 3, 4},   {3, 5, 2},    {4, 3, 7},     {5, 3, 49},   {6, 2, 67},
                            {1, 3, 131}, {3, 2, 5000}, {300, 2, 300}, {2, 3, 70000}};

template <class T>
void compare(const BatchResult<T>& r, const BatchResult<Exact>& exact) {
  // Sums of n terms of size 1 are about sqrt(n) large, and so is what is compared with.
  BOOST_TEST(r.count == exact.count);
  check_close(r.mean, exact.mean, 2);
  check_close(r.var, exact.var, 4);
  check_close(r.y, exact.y, 16);
  check_close(r.dx, exact.dx, 16);
  check_close(r.dx_eval, exact.dx_eval, 16);
  check_close(r.db, exact.db, 64);
  // xhat is taken from the mean rounded to T, which moves dw = sum dy xhat by up to
  // eps |mean| rstd |db|, however small dw itself is.
  for (size_t c = 0; c < r.dw.size(); ++c) {
    const Exact moved = std::abs(exact.mean[c] * exact.db[c]) / std::sqrt(exact.var[c] + kEps);
    const Exact bound = 64 * std::max<Exact>(1, std::abs(exact.dw[c])) + 2 * moved;
    BOOST_TEST(std::abs(r.dw[c] - exact.dw[c]) <= std::numeric_limits<T>::epsilon() * bound);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(batch_norm_is_its_definition, T, Scalars) {
  set_threads(2);
  for (const Channels& s : kShapes) {
    for (bool masked : {false, true}) {
      for (bool affine : {false, true}) {
        for (bool relu : {false, true}) {
          BOOST_TEST_CONTEXT(s.outer << "x" << s.channels << "x" << s.inner << " masked " << masked
                                     << " affine " << affine << " relu " << relu) {
            const BatchProblem p(s, masked, affine, 0.7, relu);
            compare(run<T>(p), define(p));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_pieces_of_batch_norm_make_the_whole, T, Scalars) {
  set_threads(2);
  for (const Channels& s : {Channels{33, 10, 1}, Channels{4, 3, 7}, Channels{2, 3, 70000}}) {
    const BatchProblem p(s, true, true, 0.7);
    const BatchResult<T> r = run<T>(p);
    const Given<T> g(p);
    Values<T> rstd(r.rstd.size()), y(r.y.size());
    batch_norm_rstd(s.channels, kEps, r.var.data(), rstd.data());
    batch_norm_normalize<T>(s, g.in, r.mean.data(), rstd.data(), y.data());
    BOOST_TEST(same_bits(rstd, r.rstd));
    BOOST_TEST(same_bits(y, r.y));

    Values<T> dw(r.dw.size()), db(dw), dx(r.dx.size());
    const NormInput<T> without_b{g.x.data(), p.valid, g.w.data()};
    batch_norm_backward<T>(s, kEps, without_b, r.mean.data(), r.rstd.data(), g.dy.data(),
                           {dx.data(), nullptr, nullptr});
    BOOST_TEST(same_bits(dx, r.dx));
    batch_norm_backward<T>(s, kEps, without_b, r.mean.data(), r.rstd.data(), g.dy.data(),
                           {nullptr, dw.data(), nullptr});
    batch_norm_backward_eval<T>(s, without_b, r.mean.data(), r.rstd.data(), g.dy.data(),
                                {nullptr, nullptr, db.data()});
    BOOST_TEST(same_bits(dw, r.dw));
    BOOST_TEST(same_bits(db, r.db));
  }
}

BOOST_TEST_DECORATOR(*test::repeats)
BOOST_AUTO_TEST_CASE_TEMPLATE(batch_norm_is_the_same_on_any_number_of_threads, T, Scalars) {
  for (const Channels& s : {Channels{300, 20, 300}, Channels{2, 3, 70000}, Channels{7000, 70, 1},
                            Channels{200000, 1, 1}, Channels{1500, 301, 1}}) {
    for (bool masked : {false, true}) {
      const BatchProblem p(s, masked, true, 0.7, masked);
      set_threads(1);
      const BatchResult<T> one = run<T>(p);
      for (int count : {2, 3}) {
        set_threads(count);
        BOOST_TEST((run<T>(p) == one));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(f32_statistics_far_from_zero) {
  set_threads(2);
  for (double center : {2000.0, 1e4, -1e4}) {
    for (const Channels& s : {Channels{32, 5, 1}, Channels{9000, 5, 1}, Channels{70, 200, 1},
                              Channels{8, 5, 49}, Channels{64, 3, 3000}}) {
      const BatchProblem p(s, false, true, center);
      const BatchResult<float> r = run<float>(p);
      const BatchResult<Exact> exact = define(p);
      for (size_t c = 0; c < exact.var.size(); ++c) {
        BOOST_TEST(std::abs(r.var[c] / exact.var[c] - 1) < 1e-6);
        BOOST_TEST(std::abs(r.mean[c] / exact.mean[c] - 1) < 1e-7);
      }
      Values<float> w, x = as<float>(p.x), y(x.size()), mean(static_cast<size_t>(s.outer)),
                       rstd(mean);
      const int64_t d = s.channels * s.inner;
      row_norm<float>({s.outer, 1, d}, 0, {x.data()}, y.data(), mean.data(), rstd.data());
      for (int64_t i = 0; i < s.outer; ++i) {
        const double* row = p.x.data() + i * d;
        double m = 0, v = 0;
        for (int64_t j = 0; j < d; ++j) m += row[j] / static_cast<double>(d);
        for (int64_t j = 0; j < d; ++j) v += (row[j] - m) * (row[j] - m) / static_cast<double>(d);
        const double r_i = static_cast<double>(rstd[static_cast<size_t>(i)]);
        BOOST_TEST(std::abs(r_i * r_i * v - 1) < 1e-6);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(batch_norm_of_extreme_values, T, Scalars) {
  for (const Channels& s : {Channels{33, 10, 1}, Channels{700, 131, 1}, Channels{5, 3, 49}})
    for (double size : {1e-15, 1e15}) {
      BatchProblem p(s, false, false, 0.7);
      for (double& v : p.x) v = static_cast<float>(size * v);
      const BatchResult<T> r = run<T>(p);
      const BatchResult<Exact> exact = define(p);
      check_close(r.mean, exact.mean, 2, 0);
      check_close(r.var, exact.var, 4, 0);
      check_close(r.y, exact.y, 16, 0);
      check_close(r.dx, exact.dx, 16, 0);
      for (double bad : {HUGE_VAL, std::nan("")}) {  // spoils its channel and nothing else
        const int64_t channel = s.channels - 2;
        p.x[static_cast<size_t>((s.channels + channel) * s.inner)] = bad;
        const BatchResult<T> rs = run<T>(p);
        bool right = true;
        for (int64_t k = 0; k < p.size; ++k) {
          const auto at = static_cast<size_t>(k);
          right = right && (k / s.inner % s.channels == channel
                                ? std::isnan(rs.y[at]) && std::isnan(rs.dx[at])
                                : rs.y[at] == r.y[at] && rs.dx[at] == r.dx[at]);
        }
        BOOST_TEST(right, s.outer << "x" << s.channels << "x" << s.inner << " " << bad);
      }
    }
}

BOOST_AUTO_TEST_CASE(nothing_valid_gives_zeros) {
  const bool valid[6] = {};
  const Values<float> x(18, std::nanf(""));
  for (const Channels& s : {Channels{6, 3, 1}, Channels{2, 3, 3}}) {
    Values<float> y(18, 7), dx(18, 7), mean(3, 7), var(3, 7), rstd(3, 7), dw(3, 7), db(3, 7);
    const NormInput<float> in{x.data(), valid};
    batch_norm(s, kEps, in, y.data(), mean.data(), var.data(), rstd.data());
    BOOST_TEST(count_valid(s, in.valid) == 0);
    batch_norm_backward<float>(s, kEps, in, mean.data(), rstd.data(), x.data(),
                               {dx.data(), dw.data(), db.data()});
    for (const Values<float>* zeros : {&y, &dx, &mean, &var, &dw, &db})
      for (float v : *zeros) BOOST_TEST(v == 0);
  }
}

namespace {

struct RowProblem {
  RowProblem(const NormRows& shape, bool masked, bool with_w, bool with_b, bool before_relu = false)
      : s(shape), mask(s.samples, 5), relu(before_relu) {
    const int64_t size = s.groups * s.d, n = s.samples * size;
    x = random(n, 0.7, 1);
    dy = random(n, 0.3, 2);
    if (with_w) w = random(s.weights(), 1.5, 3);
    if (with_b) b = random(s.weights(), 0.5, 4);
    if (masked) valid = mask.data();
    for (int64_t k = 0; k < n && masked; ++k)
      if (!valid[k / size]) x[static_cast<size_t>(k)] = dy[static_cast<size_t>(k)] = std::nan("");
    if (relu) clear_ties();
  }
  /// No gradient comes from where rounding decides whether the relu lets it pass.
  void clear_ties() {
    Values<double> y(x.size());
    naive::row_norm(s, kEps, {x.data(), valid, pointer(w), pointer(b)}, y.data());
    for (size_t k = 0; k < y.size(); ++k)
      if (std::abs(y[k]) < 1e-4 && !std::isnan(dy[k])) dy[k] = 0;
  }
  NormRows s;
  Mask mask;
  const bool* valid = nullptr;
  bool relu;
  Values<double> x, dy, w, b;
};

template <class T>
struct RowResult {
  explicit RowResult(const RowProblem& p)
      : y(p.x.size(), T(7)),
        dx(y),
        mean(static_cast<size_t>(p.s.samples * p.s.groups), T(7)),
        rstd(mean),
        dw(static_cast<size_t>(p.s.weights()), T(7)),
        db(dw) {}
  bool operator==(const RowResult& o) const {
    return same_bits(y, o.y) && same_bits(dx, o.dx) && same_bits(mean, o.mean) &&
           same_bits(rstd, o.rstd) && same_bits(dw, o.dw) && same_bits(db, o.db);
  }
  NormGradients<T> gradients() { return {dx.data(), dw.data(), db.data()}; }
  Values<T> y, dx, mean, rstd, dw, db;
};

template <class T>
RowResult<T> run(const RowProblem& p) {
  const Given<T> g(p);
  RowResult<T> r(p);
  row_norm(p.s, kEps, g.in, r.y.data(), r.mean.data(), r.rstd.data());
  row_norm_backward<T>(p.s, kEps, g.in, r.mean.data(), r.rstd.data(), g.dy.data(), r.gradients());
  return r;
}

RowResult<Exact> define(const RowProblem& p) {
  RowResult<Exact> r(p);
  const Given<Exact> g(p);
  naive::row_norm(p.s, kEps, g.in, r.y.data());
  naive::row_norm_backward(p.s, kEps, g.in, g.dy.data(), r.gradients());
  return r;
}

template <class T>
void compare(const RowResult<T>& r, const RowResult<Exact>& exact) {
  check_close(r.y, exact.y, 16);
  check_close(r.dx, exact.dx, 16);
  check_close(r.dw, exact.dw, 64);
  check_close(r.db, exact.db, 64);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(layer_norm_is_its_definition, T, Scalars) {
  set_threads(2);
  const int64_t shapes[][2] = {{0, 5},  {3, 0},    {1, 2},   {3, 5},    {5, 16},   {7, 17},
                               {4, 63}, {300, 10}, {9, 130}, {131, 67}, {3, 4097}, {2, 9001}};
  for (const auto& [rows, d] : shapes) {
    for (int kind = 0; kind < 16; ++kind) {
      BOOST_TEST_CONTEXT(rows << "x" << d << " kind " << kind) {
        const RowProblem p({rows, 1, d}, kind & 1, kind & 2, kind & 4, kind & 8);
        const RowResult<T> r = run<T>(p);
        compare(r, define(p));
        for (int64_t i = 0; i < rows && p.valid; ++i) {
          const auto at = static_cast<size_t>(i);
          if (!p.valid[i]) BOOST_TEST((r.mean[at] == 0 && r.rstd[at] == 0));
        }
      }
    }
  }
}

namespace {

/// Groups and shared weights of every kind: rows short and long, few and many, of one channel.
const NormRows kGroups[] = {{0, 2, 6, 3},    {3, 2, 6, 3},    {5, 4, 9, 9},      {7, 3, 34, 17},
                            {4, 2, 64, 1},   {300, 5, 4, 2},  {9, 1, 130, 65},   {131, 2, 68, 4},
                            {3, 2, 4098, 6}, {2, 1, 9001, 1}, {1, 3, 9001, 9001}};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(groups_are_their_definition, T, Scalars) {
  for (NormRows s : kGroups)
    for (int kind = 0; kind < 32; ++kind)
      BOOST_TEST_CONTEXT(s.samples << "x" << s.groups << "x" << s.d << " kind " << kind) {
        s.centred = !(kind & 16);
        const RowProblem p(s, kind & 1, kind & 2, kind & 4, kind & 8);
        set_threads(1);
        const RowResult<T> one = run<T>(p);
        compare(one, define(p));
        set_threads(2);
        BOOST_TEST((run<T>(p) == one));
      }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(layer_norm_of_extreme_values, T, Scalars) {
  for (const auto& [rows, d] : {std::pair<int64_t, int64_t>{7, 17}, {31, 130}, {3, 4097}})
    for (double size : {1e-15, 1e15}) {
      RowProblem p({rows, 1, d}, false, false, false);
      for (double& v : p.x) v = static_cast<float>(size * v);
      const RowResult<T> r = run<T>(p);
      const RowResult<Exact> exact = define(p);
      check_close(r.y, exact.y, 16, 0);
      check_close(r.dx, exact.dx, 16, 0);
      for (double bad : {HUGE_VAL, std::nan("")}) {  // spoils its row and nothing else
        p.x[static_cast<size_t>(d + d / 2)] = bad;
        const RowResult<T> rs = run<T>(p);
        bool right = true;
        for (int64_t k = 0; k < rows * d; ++k) {
          const auto at = static_cast<size_t>(k);
          right = right && (k / d == 1 ? std::isnan(rs.y[at]) && std::isnan(rs.dx[at])
                                       : rs.y[at] == r.y[at] && rs.dx[at] == r.dx[at]);
        }
        BOOST_TEST(right, rows << "x" << d << " " << bad);
      }
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(streamed_results_are_the_same, T, Scalars) {
  set_threads(2);
  for (const auto& [s, relu] :
       {std::pair{Channels{64, 17, 1024}, false}, {Channels{4, 3, 100003}, true}}) {
    const BatchProblem p(s, false, true, 0.7, relu);
    const Given<T> g(p);
    BatchResult<T> r = run<T>(p);
    compare(r, define(p));
    StreamedTo<T> y(r.y), dx(r.dx);
    for (int64_t offset : {0, 1}) {
      batch_norm(s, kEps, g.in, y.block.data() + offset, r.mean.data(), r.var.data(),
                 r.rstd.data());
      batch_norm_backward<T>(s, kEps, g.in, r.mean.data(), r.rstd.data(), g.dy.data(),
                             {dx.block.data() + offset, r.dw.data(), r.db.data()});
      y.check_at(offset);
      dx.check_at(offset);
    }
  }
  for (const auto& [s, relu] : {std::pair{NormRows{2100, 1, 512}, true},
                                {NormRows{1200, 1, 1001}, false},
                                {NormRows{525, 4, 512, 16}, true}}) {
    const RowProblem p(s, false, true, true, relu);
    const Given<T> g(p);
    RowResult<T> r = run<T>(p);
    compare(r, define(p));
    StreamedTo<T> y(r.y), dx(r.dx);
    for (int64_t offset : {0, 1}) {
      row_norm(s, kEps, g.in, y.block.data() + offset, r.mean.data(), r.rstd.data());
      row_norm_backward<T>(s, kEps, g.in, r.mean.data(), r.rstd.data(), g.dy.data(),
                           {dx.block.data() + offset, r.dw.data(), r.db.data()});
      y.check_at(offset);
      dx.check_at(offset);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(any_result_of_layer_norm_may_be_left_out, T, Scalars) {
  const RowProblem p({131, 1, 67}, true, true, true);
  const RowResult<T> whole = run<T>(p);
  const Given<T> g(p);
  RowResult<T> r(p);
  r.mean = whole.mean;
  r.rstd = whole.rstd;
  row_norm<T>(p.s, kEps, g.in, r.y.data(), nullptr, nullptr);
  const auto backward = [&](T* dx, T* dw, T* db) {
    row_norm_backward<T>(p.s, kEps, g.in, r.mean.data(), r.rstd.data(), g.dy.data(), {dx, dw, db});
  };
  backward(r.dx.data(), nullptr, nullptr);
  backward(nullptr, r.dw.data(), nullptr);
  backward(nullptr, nullptr, r.db.data());
  backward(nullptr, nullptr, nullptr);
  BOOST_TEST(same_bits(r.y, whole.y));
  check_close(r.dx, as<Exact>(r.dx), 4);
  check_close(r.dw, as<Exact>(r.dw), 4);
  BOOST_TEST(same_bits(r.db, r.db));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(layer_norm_is_the_same_on_any_number_of_threads, T, Scalars) {
  for (const auto& [rows, d] : {std::pair<int64_t, int64_t>{5001, 67}, {701, 513}, {5, 40000}}) {
    for (bool relu : {false, true}) {
      const RowProblem p({rows, 1, d}, true, true, true, relu);
      set_threads(1);
      const RowResult<T> one = run<T>(p);
      for (int count : {2, 3}) {
        set_threads(count);
        BOOST_TEST((run<T>(p) == one));
      }
    }
  }
}

namespace {

/// d/dt of sum dy y(x + t direction) at t = 0, exactly, by the definition in dual numbers.
template <class Forward>
double directional(const Values<double>& x, size_t i, const Values<double>& dy, Forward forward) {
  Values<Dual> at = as<Dual>(x), y(dy.size());
  at[i] = boost::math::differentiation::make_fvar<double, 1>(x[i]);
  forward(at.data(), y.data());
  double sum = 0;
  for (size_t k = 0; k < dy.size(); ++k) sum += dy[k] * y[k].derivative(1);
  return sum;
}

template <class Forward>
void check_gradient(const Values<double>& x, const Values<Exact>& dx, const Values<double>& dy,
                    Forward forward) {
  for (size_t i = 0; i < x.size(); ++i)
    BOOST_TEST(std::abs(directional(x, i, dy, forward) - static_cast<double>(dx[i])) < 1e-12,
               "element " << i);
}

void check_naive_batch_norm(const Channels& s, bool training, bool relu) {
  BatchProblem p(s, true, true, 0.7, relu);
  for (Values<double>* values : {&p.x, &p.dy})
    for (double& v : *values) v = std::isnan(v) ? 0.25 : v;
  BatchResult<Exact> exact = define(p);
  const Given<Exact> e(p);
  naive::batch_norm_backward<Exact>(s, kEps, training, e.in, exact.mean.data(), exact.var.data(),
                                    e.dy.data(), exact.gradients());
  const Values<Dual> fixed_mean = as<Dual>(as<double>(exact.mean)),
                     fixed_var = as<Dual>(as<double>(exact.var));
  const Given<Dual> g(p);
  const auto forward = [&](const Dual* x, const Dual* w, const Dual* b, Dual* y) {
    Values<Dual> mean = fixed_mean, var = fixed_var;
    if (training) naive::batch_norm_stats(s, x, p.valid, mean.data(), var.data());
    naive::batch_norm_normalize<Dual>(s, kEps, {x, p.valid, w, b, relu}, mean.data(), var.data(),
                                      y);
  };
  check_gradient(p.x, exact.dx, p.dy,
                 [&](const Dual* v, Dual* y) { forward(v, g.w.data(), g.b.data(), y); });
  check_gradient(p.w, exact.dw, p.dy,
                 [&](const Dual* v, Dual* y) { forward(g.x.data(), v, g.b.data(), y); });
  check_gradient(p.b, exact.db, p.dy,
                 [&](const Dual* v, Dual* y) { forward(g.x.data(), g.w.data(), v, y); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_naive_gradients_are_those_of_the_definitions) {
  for (bool relu : {false, true}) {
    for (const NormRows& shape :
         {NormRows{3, 1, 5}, NormRows{3, 2, 6, 3}, NormRows{3, 1, 5, 1, false}}) {
      const RowProblem l(shape, false, true, true, relu);
      const RowResult<Exact> r = define(l);
      const Given<Dual> g(l);
      const auto forward = [&](const Dual* x, const Dual* w, const Dual* b, Dual* y) {
        naive::row_norm(l.s, kEps, {x, nullptr, w, b, relu}, y);
      };
      check_gradient(l.x, r.dx, l.dy,
                     [&](const Dual* v, Dual* y) { forward(v, g.w.data(), g.b.data(), y); });
      check_gradient(l.w, r.dw, l.dy,
                     [&](const Dual* v, Dual* y) { forward(g.x.data(), v, g.b.data(), y); });
      check_gradient(l.b, r.db, l.dy,
                     [&](const Dual* v, Dual* y) { forward(g.x.data(), g.w.data(), v, y); });
    }
    for (const Channels& s : {Channels{5, 3, 1}, Channels{3, 2, 4}})
      for (bool training : {true, false}) check_naive_batch_norm(s, training, relu);
  }
}

namespace {

template <class T>
void check_level(Isa isa, const Channels& s, bool masked, bool relu) {
  const NormKernels<T>& table = table_for<NormKernels<T>>(isa);
  const ColumnNormKernels<T>& columns = table_for<ColumnNormKernels<T>>(isa);
  const BatchProblem p(s, masked, true, 0.7, relu);
  const BatchResult<Exact> exact = define(p);
  const Values<T> x = as<T>(p.x), dy = as<T>(p.dy), b = as<T>(p.b);
  BatchResult<T> r(p);
  const auto n = static_cast<double>(exact.count);
  Values<double> mean(r.mean.size()), squares(mean), sum(mean), product(mean);
  Values<T> scale, mean_dy, slope;
  const Runs runs{s.outer, s.inner, s.channels * s.inner, s.inner};
  if (s.inner == 1)
    columns.moments(s.outer, s.channels, x.data(), p.valid, mean.data(), squares.data());
  for (size_t c = 0; c < mean.size(); ++c) {
    if (s.inner > 1) {
      const Moments m = table.moments(runs, x.data() + static_cast<int64_t>(c) * s.inner, p.valid);
      BOOST_TEST(m.count == n);
      mean[c] = m.mean, squares[c] = m.squares;
    }
    r.mean[c] = static_cast<T>(mean[c]);
    r.var[c] = static_cast<T>(squares[c] / n);
  }
  table.rstd(s.channels, kEps, r.var.data(), r.rstd.data());
  for (size_t c = 0; c < mean.size(); ++c)
    scale.push_back(static_cast<T>(p.w[c] * static_cast<double>(r.rstd[c])));
  const ColumnAffine<T> all{r.mean.data(), scale.data(), b.data(), relu};
  if (s.inner == 1)
    columns.gradient_sums(s.outer, s.channels, all, x.data(), p.valid, dy.data(), sum.data(),
                          product.data());
  for (size_t c = 0; c < mean.size(); ++c) {
    const int64_t at = static_cast<int64_t>(c) * s.inner;
    const Affine<T> f{r.mean[c], scale[c], b[c], relu};
    if (s.inner > 1) {
      const GradientSums g = table.gradient_sums(runs, f, x.data() + at, p.valid, dy.data() + at);
      sum[c] = g.dy, product[c] = g.dy_x;
    }
    const double rstd = static_cast<double>(r.rstd[c]);
    r.db[c] = static_cast<T>(sum[c]);
    r.dw[c] = static_cast<T>(product[c] * rstd);
    mean_dy.push_back(static_cast<T>(sum[c] / n));
    slope.push_back(static_cast<T>(product[c] / n * rstd * rstd));
    if (s.inner == 1) continue;
    table.normalize(runs, f, x.data() + at, p.valid, r.y.data() + at, true);
    table.gradient(runs, {f, mean_dy[c], slope[c]}, x.data() + at, p.valid, dy.data() + at,
                   r.dx.data() + at, true);
  }
  if (s.inner == 1) {
    columns.normalize(s.outer, s.channels, all, x.data(), p.valid, r.y.data());
    columns.gradient(s.outer, s.channels, all, mean_dy.data(), slope.data(), x.data(), p.valid,
                     dy.data(), r.dx.data());
  }
  r.count = exact.count;
  r.dx_eval = as<T>(exact.dx_eval);
  compare(r, exact);
}

template <class T>
void check_rows_at_level(Isa isa, int64_t d, int64_t inner, bool centred, bool relu) {
  const RowProblem p({131, 1, d, inner, centred}, true, true, true, relu);
  const RowResult<Exact> exact = define(p);
  const NormKernels<T>& table = table_for<NormKernels<T>>(isa);
  const Given<T> g(p);
  RowResult<T> r(p);
  Values<T> block(2 * p.x.size()), spread(block);
  Values<double> dw(g.w.size()), db(g.w.size());
  const Rows all{0, 131, d, 1, inner, centred};
  table.row_norm(all, kEps, g.in, spread.data(), r.y.data(), r.mean.data(), r.rstd.data(), true);
  std::vector<T> memory(static_cast<size_t>(all.d));
  table.row_norm_backward(all, kEps, g.in, spread.data(), memory.data(), r.mean.data(),
                          r.rstd.data(), g.dy.data(), r.dx.data(),
                          {dw.data(), db.data(), block.data()}, true);
  BOOST_TEST_CONTEXT(name(isa) << " rows of " << d << " relu " << relu) {
    check_close(r.y, exact.y, 16);
    check_close(r.dx, exact.dx, d == 1 ? 64 : 16);
    check_close(as<T>(dw), exact.dw, 64);
    check_close(as<T>(db), exact.db, 64);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(norms_at_every_level, T, Scalars) {
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    for (const Channels& s :
         {Channels{33, 10, 1}, Channels{130, 17, 1}, Channels{61, 70, 1}, Channels{19, 600, 1},
          Channels{4, 3, 7}, Channels{5, 3, 49}, Channels{6, 2, 131}, Channels{2, 2, 5000}})
      for (bool masked : {false, true})
        for (bool relu : {false, true})
          BOOST_TEST_CONTEXT(name(isa) << " " << s.outer << "x" << s.channels << "x" << s.inner
                                       << " relu " << relu)
    check_level<T>(isa, s, masked, relu);
    for (int64_t d : {1, 3, 16, 37, 65, 131, 4500}) {
      for (bool relu : {false, true}) {
        check_rows_at_level<T>(isa, d, 1, true, relu);
        check_rows_at_level<T>(isa, 2 * d, d, relu, relu);
      }
    }
  }
}
