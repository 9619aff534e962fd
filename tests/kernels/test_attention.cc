#define BOOST_TEST_MODULE attention_kernels
#include <gradus/kernels/attention/attention.h>
#include <gradus/kernels/attention/naive.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/math/differentiation/autodiff.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <random>
#include <string>

#include "tests/kernels/kernel_checks.h"

using namespace gradus::test;
using namespace gradus;
using namespace gradus::kernels;
using Scalars = boost::mpl::list<float, double>;
using Dual = decltype(boost::math::differentiation::make_fvar<double, 1>(0));

namespace {

constexpr int64_t kOuter = 2, kInner = 3;

struct Sizes {
  int64_t queries, keys, depth, value_depth;
};

// Queries below, at and beyond a block of 32; more and fewer keys.
const Sizes kSizes[] = {{1, 1, 1, 1},   {3, 5, 4, 2},   {32, 32, 8, 8}, {33, 7, 5, 3},
                        {31, 70, 3, 6}, {65, 64, 7, 1}, {100, 33, 2, 5}};

/// Matrices side by side in one array, as the heads of a position are: (outer, row, inner, column),
/// with some elements more after each row.
struct Layout {
  int64_t rows, columns, gap;
  int64_t row() const { return kInner * columns + gap; }
  int64_t size() const { return kOuter * rows * row(); }
  template <class T>
  Matrices<T> of(T* data) const {
    return {data, rows * row(), columns, row()};
  }
};

struct Problem {
  Problem(const Sizes& sizes, bool is_causal, bool is_biased)
      : s(sizes), causal(is_causal), biased(is_biased) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    const auto fill = [&](Values<double>& x, int64_t n) {
      for (int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>(normal(random)));
    };
    fill(q, lq.size());
    fill(k, lk.size());
    fill(v, lv.size());
    fill(dy, ly.size());
    fill(bias, kOuter * s.queries * s.keys);  // the same for every inner
    for (size_t i = 0; i < bias.size(); i += 5) bias[i] = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < s.keys; ++j)  // the last query of the first: may look at nothing
      bias[static_cast<size_t>((s.queries - 1) * s.keys + j)] =
          -std::numeric_limits<double>::infinity();
  }
  template <class T>
  AttentionProblem<T> problem(const T* pq, const T* pk, const T* pv, const T* pb) const {
    return {kOuter,
            kInner,
            s.queries,
            s.keys,
            s.depth,
            s.value_depth,
            static_cast<T>(0.7),
            causal,
            lq.of(pq),
            lk.of(pk),
            lv.of(pv),
            {biased ? pb : nullptr, s.queries * s.keys, 0, s.keys, 1}};
  }

  Sizes s;
  bool causal, biased;
  Layout lq{s.queries, s.depth, 2}, lk{s.keys, s.depth, 0}, lv{s.keys, s.value_depth, 3},
      ly{s.queries, s.value_depth, 1};
  Values<double> q, k, v, dy, bias;
};

template <class T>
struct Result {
  Values<T> y, dq, dk, dv;
  bool operator==(const Result& o) const {
    return same_bits(y, o.y) && same_bits(dq, o.dq) && same_bits(dk, o.dk) && same_bits(dv, o.dv);
  }
};

template <class T>
Result<T> run(const Problem& p) {
  const Values<T> q = as<T>(p.q), k = as<T>(p.k), v = as<T>(p.v), dy = as<T>(p.dy),
                  bias = as<T>(p.bias);
  Result<T> r{Values<T>(dy.size()), Values<T>(q.size()), Values<T>(k.size()), Values<T>(v.size())};
  const AttentionProblem<T> a = p.problem(q.data(), k.data(), v.data(), bias.data());
  attention(a, p.ly.of(r.y.data()));
  attention_backward(a, p.ly.of(dy.data()), p.lq.of(r.dq.data()), p.lk.of(r.dk.data()),
                     p.lv.of(r.dv.data()));
  return r;
}

/// Matrix (i, j) without gaps.
template <class To, class T>
Values<To> matrix(const Layout& layout, const Values<T>& x, int64_t i, int64_t j) {
  const Matrices<const T> all = layout.of(x.data());
  Values<To> m;
  for (int64_t row = 0; row < layout.rows; ++row)
    for (int64_t c = 0; c < layout.columns; ++c) m.push_back(To(all.at(i, j)[row * all.row + c]));
  return m;
}

template <class X>
Values<X> define(const Problem& p, int64_t i, const Values<X>& q, const Values<X>& k,
                 const Values<X>& v) {
  const Sizes& s = p.s;
  Values<X> y(static_cast<size_t>(s.queries * s.value_depth));
  const auto first = p.bias.begin() + i * s.queries * s.keys;
  const Values<X> bias(first, first + s.queries * s.keys);
  naive::attention<X>(s.queries, s.keys, s.depth, s.value_depth, 0.7, p.causal, q.data(), k.data(),
                      v.data(), p.biased ? bias.data() : nullptr, y.data());
  return y;
}

/// dq, dk and dv of one attention.
struct Gradients {
  Values<Exact> of[3];
};

Gradients define_gradients(const Problem& p, int64_t i, int64_t j) {
  const Sizes& s = p.s;
  const auto q = matrix<Exact>(p.lq, p.q, i, j), k = matrix<Exact>(p.lk, p.k, i, j),
             v = matrix<Exact>(p.lv, p.v, i, j), dy = matrix<Exact>(p.ly, p.dy, i, j);
  const auto first = p.bias.begin() + i * s.queries * s.keys;
  const Values<Exact> bias(first, first + s.queries * s.keys);
  Gradients d{{Values<Exact>(q.size()), Values<Exact>(k.size()), Values<Exact>(v.size())}};
  naive::attention_backward<Exact>(s.queries, s.keys, s.depth, s.value_depth, 0.7, p.causal,
                                   q.data(), k.data(), v.data(), p.biased ? bias.data() : nullptr,
                                   dy.data(), d.of[0].data(), d.of[1].data(), d.of[2].data());
  return d;
}

/// d(sum y dy)/dx of one attention's q, k or v, by the definition in dual numbers.
Values<Exact> define_gradient(const Problem& p, int64_t i, int64_t j, int of) {
  Values<Dual> x[] = {matrix<Dual>(p.lq, p.q, i, j), matrix<Dual>(p.lk, p.k, i, j),
                      matrix<Dual>(p.lv, p.v, i, j)};
  const Values<double> dy = matrix<double>(p.ly, p.dy, i, j);
  Values<Exact> d;
  for (Dual& entry : x[of]) {
    const Dual before = entry;
    entry = boost::math::differentiation::make_fvar<double, 1>(static_cast<double>(before));
    const Values<Dual> y = define(p, i, x[0], x[1], x[2]);
    double sum = 0;
    for (size_t n = 0; n < y.size(); ++n) sum += dy[n] * y[n].derivative(1);
    d.push_back(sum);
    entry = before;
  }
  return d;
}

template <class F>
void for_each_problem(F f) {
  for (const Sizes& s : kSizes)
    for (bool causal : {false, true})
      for (bool biased : {false, true}) {
        BOOST_TEST_CONTEXT(s.queries << " queries, " << s.keys << " keys, depths " << s.depth
                                     << " and " << s.value_depth << ", causal " << causal
                                     << ", bias " << biased)
        f(Problem(s, causal, biased));
      }
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(values_are_the_definition, T, Scalars) {
  set_threads(2);
  for_each_problem([](const Problem& p) {
    const Result<T> r = run<T>(p);
    for (int64_t i = 0; i < kOuter; ++i)
      for (int64_t j = 0; j < kInner; ++j)
        check_close(matrix<T>(p.ly, r.y, i, j),
                    define(p, i, matrix<Exact>(p.lq, p.q, i, j), matrix<Exact>(p.lk, p.k, i, j),
                           matrix<Exact>(p.lv, p.v, i, j)),
                    8);
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(gradients_are_the_definition, T, Scalars) {
  set_threads(2);
  for_each_problem([](const Problem& p) {
    const Result<T> r = run<T>(p);
    for (int64_t i = 0; i < kOuter; ++i)
      for (int64_t j = 0; j < kInner; ++j) {
        const Gradients exact = define_gradients(p, i, j);
        check_close(matrix<T>(p.lq, r.dq, i, j), exact.of[0], 32);
        check_close(matrix<T>(p.lk, r.dk, i, j), exact.of[1], 32);
        check_close(matrix<T>(p.lv, r.dv, i, j), exact.of[2], 32);
      }
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(gradients_are_those_of_the_definition, T, Scalars) {
  set_threads(2);
  for_each_problem([](const Problem& p) {
    if (p.s.queries * p.s.keys > 1500) return;  // dual numbers take a pass for each entry
    const Result<T> r = run<T>(p);
    check_close(matrix<T>(p.lq, r.dq, 1, 2), define_gradient(p, 1, 2, 0), 32);
    check_close(matrix<T>(p.lk, r.dk, 1, 2), define_gradient(p, 1, 2, 1), 32);
    check_close(matrix<T>(p.lv, r.dv, 1, 2), define_gradient(p, 1, 2, 2), 32);
  });
}

// Each query's weights are 0 but for one key's.
BOOST_AUTO_TEST_CASE_TEMPLATE(extreme_scores, T, Scalars) {
  for_each_problem([](Problem p) {
    for (double& q : p.q) q = static_cast<float>(1e9 * q);
    const Result<T> r = run<T>(p);
    for (int64_t i = 0; i < kOuter; ++i)
      for (int64_t j = 0; j < kInner; ++j)
        check_close(matrix<T>(p.ly, r.y, i, j),
                    define(p, i, matrix<Exact>(p.lq, p.q, i, j), matrix<Exact>(p.lk, p.k, i, j),
                           matrix<Exact>(p.lv, p.v, i, j)),
                    8);
    for (const Values<T>* d : {&r.dq, &r.dk, &r.dv})
      BOOST_TEST(std::all_of(d->begin(), d->end(), [](T v) { return std::isfinite(v); }));
  });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_not_wanted_is_not_needed, T, Scalars) {
  const Problem p({33, 7, 5, 3}, true, true);
  const Values<T> q = as<T>(p.q), k = as<T>(p.k), v = as<T>(p.v), dy = as<T>(p.dy),
                  bias = as<T>(p.bias);
  const AttentionProblem<T> a = p.problem(q.data(), k.data(), v.data(), bias.data());
  const Result<T> all = run<T>(p);
  Values<T> dq(q.size()), dk(k.size()), dv(v.size());
  attention_backward(a, p.ly.of(dy.data()), p.lq.of(dq.data()), p.lk.of(dk.data()), {});
  attention_backward(a, p.ly.of(dy.data()), {}, {}, p.lv.of(dv.data()));
  BOOST_TEST((Result<T>{all.y, dq, dk, dv} == all));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_same_bits_on_any_threads, T, Scalars) {
  const Problem p({100, 90, 24, 16}, true, true);
  set_threads(1);
  const Result<T> one = run<T>(p);
  for (int count : {2, 3}) {
    set_threads(count);
    BOOST_TEST((run<T>(p) == one), count << " threads");
  }
}

BOOST_AUTO_TEST_CASE(gaps_between_rows_stay_as_they_are) {
  const Problem p({33, 7, 5, 3}, false, false);
  const Result<double> r = run<double>(p);
  for (int64_t row = 0; row < kOuter * p.s.queries; ++row)
    for (int64_t c = kInner * p.s.depth; c < p.lq.row(); ++c)
      BOOST_TEST(r.dq[static_cast<size_t>(row * p.lq.row() + c)] == 0);
}
