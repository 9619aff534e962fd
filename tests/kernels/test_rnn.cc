#define BOOST_TEST_MODULE rnn_kernels
#include <gradus/kernels/rnn/naive.h>
#include <gradus/kernels/rnn/rnn.h>
#include <gradus/kernels/rnn/table.h>
#include <gradus/kernels/runtime/isa.h>
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

const CellKind kKinds[] = {CellKind::tanh, CellKind::relu, CellKind::lstm, CellKind::gru};
const char* const kNames[] = {"tanh", "relu", "lstm", "gru"};

struct Sizes {
  int64_t steps, batch, inputs, hidden;
  bool padded, projected;
};

std::string describe(CellKind kind, const Sizes& s) {
  return std::string(kNames[static_cast<int>(kind)]) + " " + std::to_string(s.steps) + "x" +
         std::to_string(s.batch) + "x" + std::to_string(s.inputs) + " to " +
         std::to_string(s.hidden) + (s.padded ? " padded" : "") + (s.projected ? " projected" : "");
}

/// A recurrence and what comes back into it, in f64 of f32's values. x is (N, T, D).
struct Problem {
  Problem(CellKind cell, const Sizes& sizes) : kind(cell), s(sizes) {
    std::mt19937 generator(7);
    std::normal_distribution<double> normal;
    const int64_t rows = gates_of(kind) * s.hidden;
    if (s.projected) s.inputs = rows;
    const auto draw = [&](int64_t n, double scale) {
      Values<double> values(static_cast<size_t>(n));
      for (double& v : values) v = static_cast<float>(scale * normal(generator));
      return values;
    };
    x = draw(s.batch * s.steps * s.inputs, 1);
    w_ih = draw(s.projected ? 0 : rows * s.inputs, 0.7);
    w_hh = draw(rows * s.hidden, 1 / std::sqrt(static_cast<double>(s.hidden)));
    b_ih = draw(rows, 0.5);
    b_hh = draw(rows, 0.5);
    h = draw(s.batch * s.hidden, 1);
    c = draw(kind == CellKind::lstm ? s.batch * s.hidden : 0, 1);
    dy = draw(s.batch * s.steps * s.hidden, 1);
    dh = draw(s.batch * s.hidden, 1);
    dc = draw(static_cast<int64_t>(c.size()), 1);
    for (int64_t n = 0; n < s.batch; ++n)
      for (int64_t t = 0; t < s.steps; ++t)
        valid.push_back(!s.padded || t < s.steps - (3 * n) % (s.steps + 1));
  }
  /// The places of everything that has a gradient.
  std::vector<Values<double>*> variables() { return {&x, &w_ih, &w_hh, &b_ih, &b_hh, &h, &c}; }

  CellKind kind;
  Sizes s;
  Values<double> x, w_ih, w_hh, b_ih, b_hh, h, c, dy, dh, dc;
  std::vector<char> valid;
  bool from_zero = false;
};

/// States, outputs and gradients, in the order of Problem::variables().
template <class T>
struct Result {
  Values<T> h, c, y;
  Values<T> gradients[7];
};

template <class X>
struct Inputs {
  explicit Inputs(const Problem& p)
      : x(as<X>(p.x)),
        w_ih(as<X>(p.w_ih)),
        w_hh(as<X>(p.w_hh)),
        b_ih(as<X>(p.b_ih)),
        b_hh(as<X>(p.b_hh)) {}
  Recurrence<X> recurrence(const Problem& p) const {
    return {p.kind,
            p.s.steps,
            p.s.batch,
            p.s.inputs,
            p.s.hidden,
            x.data(),
            p.s.inputs,
            p.s.steps * p.s.inputs,
            p.s.projected ? nullptr : w_ih.data(),
            w_hh.data(),
            b_ih.data(),
            b_hh.data(),
            p.s.padded ? reinterpret_cast<const bool*>(p.valid.data()) : nullptr,
            p.from_zero};
  }
  Values<X> x, w_ih, w_hh, b_ih, b_hh;
};

/// The first state and room for the others.
template <class X>
Values<X> states(const Problem& p, const Values<double>& first) {
  Values<X> all = as<X>(first);
  all.resize(first.size() * static_cast<size_t>(p.s.steps + 1), X(0));
  return all;
}

/// (T, N, K) as (N, T, K).
template <class T>
Values<T> batch_first(const Problem& p, const Values<T>& steps) {
  const int64_t k = static_cast<int64_t>(steps.size()) / (p.s.steps * p.s.batch);
  Values<T> result;
  for (int64_t n = 0; n < p.s.batch; ++n)
    for (int64_t t = 0; t < p.s.steps; ++t)
      for (int64_t j = 0; j < k; ++j)
        result.push_back(steps[static_cast<size_t>((t * p.s.batch + n) * k + j)]);
  return result;
}

template <class T>
Result<T> run(const Problem& p) {
  const Inputs<T> in(p);
  const Recurrence<T> r = in.recurrence(p);
  const int64_t kept = kept_gates_of(p.kind) * p.s.hidden, positions = p.s.steps * p.s.batch;
  Result<T> result{states<T>(p, p.h), states<T>(p, p.c), {}, {}};
  result.y.resize(p.dy.size());
  const bool gated = gates_of(p.kind) > 1, lstm = p.kind == CellKind::lstm;
  Values<T> gates(static_cast<size_t>(gated ? positions * kept : 0)),
      dgates(static_cast<size_t>(positions * kept));
  T* const c = lstm ? result.c.data() : nullptr;
  recurrence<T>(r, {result.h.data(), c, gated ? gates.data() : nullptr, p.s.batch * kept},
                result.y.data());
  auto& d = result.gradients;
  const Values<T> dy = as<T>(p.dy);
  d[5] = as<T>(p.dh);
  d[6] = as<T>(p.dc);
  recurrence_backward<T>(r, {result.h.data(), c, gated ? gates.data() : nullptr, p.s.batch * kept},
                         {dy.data(), p.s.hidden, p.s.steps * p.s.hidden}, true, d[5].data(),
                         lstm ? d[6].data() : nullptr, dgates.data());
  d[1].resize(in.w_ih.size());
  d[2].resize(in.w_hh.size());
  d[3].resize(in.b_ih.size());
  d[4] = d[3];
  recurrence_weight_gradients<T>(r, result.h.data(), dgates.data(),
                                 {{p.s.projected ? nullptr : d[1].data(), false},
                                  {d[2].data(), false},
                                  {d[3].data(), false},
                                  {d[4].data(), false}});
  Values<T> dx(in.x.size());
  if (p.s.projected) {  // the part of dgates that belongs to the inputs
    for (int64_t i = 0; i < positions; ++i)
      std::copy_n(dgates.data() + i * kept, p.s.inputs, dx.data() + i * p.s.inputs);
  } else {
    recurrence_input_gradient<T>(r, dgates.data(), dx.data());
  }
  d[0] = batch_first(p, dx);
  result.y = batch_first(p, result.y);
  return result;
}

/// sum dy y + dh h_T + dc c_T, of all h and c.
template <class X>
X total_of(const Problem& p, const Values<X>& h, const Values<X>& c, const Values<X>& y) {
  X total = 0;
  for (size_t i = 0; i < y.size(); ++i) total += p.dy[i] * y[i];
  const size_t last = h.size() - p.dh.size();
  for (size_t i = 0; i < p.dh.size(); ++i) total += p.dh[i] * h[last + i];
  for (size_t i = 0; i < p.dc.size(); ++i) total += p.dc[i] * c[last + i];
  return total;
}

/// The definition: the total, h, c and y.
template <class X>
X define(const Problem& p, Values<X>& h, Values<X>& c, Values<X>& y) {
  const Inputs<X> in(p);
  y.assign(p.dy.size(), X(0));
  naive::recurrence<X>(in.recurrence(p), h.data(), c.empty() ? nullptr : c.data(), y.data());
  y = batch_first(p, y);
  return total_of(p, h, c, y);
}

/// d total / d (variable k)[i] in dual numbers.
double derivative(Problem& p, size_t k, size_t i) {
  const auto seed = [&](const Values<double>& v, bool here) {
    Values<Dual> dual = as<Dual>(v);
    if (here) dual[i] = boost::math::differentiation::make_fvar<double, 1>(v[i]);
    return dual;
  };
  Inputs<Dual> in(p);
  in.x = seed(p.x, k == 0);
  in.w_ih = seed(p.w_ih, k == 1);
  in.w_hh = seed(p.w_hh, k == 2);
  in.b_ih = seed(p.b_ih, k == 3);
  in.b_hh = seed(p.b_hh, k == 4);
  Values<Dual> h = seed(p.h, k == 5), c = seed(p.c, k == 6), y(p.dy.size());
  h.resize(h.size() * static_cast<size_t>(p.s.steps + 1));
  c.resize(c.size() * static_cast<size_t>(p.s.steps + 1));
  naive::recurrence<Dual>(in.recurrence(p), h.data(), c.empty() ? nullptr : c.data(), y.data());
  y = batch_first(p, y);
  return total_of(p, h, c, y).derivative(1);
}

const Sizes kSizes[] = {{1, 1, 1, 1, false, false},   {4, 3, 2, 5, false, false},
                        {5, 4, 3, 2, true, false},    {3, 2, 0, 3, false, true},
                        {4, 19, 3, 7, true, true},    {6, 37, 11, 17, true, false},
                        {2, 50, 13, 33, false, false}};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(states_and_outputs_are_the_definition, T, Scalars) {
  set_threads(2);
  for (CellKind kind : kKinds)
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        const Problem p(kind, sizes);
        const Result<T> result = run<T>(p);
        Values<Exact> h = states<Exact>(p, p.h), c = states<Exact>(p, p.c), y;
        define(p, h, c, y);
        check_close(result.h, h, 100);
        check_close(result.c, c, 100);
        check_close(result.y, y, 100);
      }
}

// Gates far beyond where they saturate, and infinite ones.
BOOST_AUTO_TEST_CASE_TEMPLATE(extreme_inputs, T, Scalars) {
  for (CellKind kind : {CellKind::tanh, CellKind::lstm, CellKind::gru})
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        Problem p(kind, sizes);
        for (size_t i = 0; i < p.x.size(); ++i)
          p.x[i] = i % (3 * static_cast<size_t>(p.s.inputs)) == 0
                       ? -HUGE_VAL
                       : static_cast<float>(1e9 * p.x[i]);
        const Result<T> result = run<T>(p);
        Values<Exact> h = states<Exact>(p, p.h), c = states<Exact>(p, p.c), y;
        define(p, h, c, y);
        check_close(result.h, h, 100);
        check_close(result.c, c, 100);
        check_close(result.y, y, 100);
      }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(gradients_are_the_definition, T, Scalars) {
  set_threads(2);
  for (CellKind kind : kKinds)
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        Problem p(kind, sizes);
        const Result<T> result = run<T>(p);
        const Inputs<Exact> in(p);
        Values<Exact> h = states<Exact>(p, p.h), c = states<Exact>(p, p.c), y, d[7];
        define(p, h, c, y);
        for (size_t k = 0; k < 5; ++k) d[k].resize(p.variables()[k]->size());
        d[5] = as<Exact>(p.dh);
        d[6] = as<Exact>(p.dc);
        Values<Exact> dy(p.dy.size());  // (N, T, H) as (T, N, H)
        for (int64_t i = 0; i < std::ssize(dy); ++i) {
          const int64_t t = i / p.s.hidden / p.s.batch, n = i / p.s.hidden % p.s.batch;
          dy[static_cast<size_t>(i)] =
              p.dy[static_cast<size_t>((n * p.s.steps + t) * p.s.hidden + i % p.s.hidden)];
        }
        naive::recurrence_backward<Exact>(in.recurrence(p), h.data(),
                                          c.empty() ? nullptr : c.data(), dy.data(),
                                          {d[0].data(), d[1].data(), d[2].data(), d[3].data(),
                                           d[4].data(), d[5].data(), d[6].data()});
        for (size_t k = 0; k < 7; ++k) BOOST_TEST_CONTEXT("variable " << k) {
            check_close(result.gradients[k], d[k], sizeof(T) == 4 ? 500 : 2000);
          }
      }
}

BOOST_AUTO_TEST_CASE(gradients_are_those_of_the_definition_in_dual_numbers) {
  set_threads(2);
  for (CellKind kind : kKinds)
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        Problem p(kind, sizes);
        const Result<double> result = run<double>(p);
        const auto variables = p.variables();
        for (size_t k = 0; k < variables.size(); ++k) {
          const size_t count = variables[k]->size(), stride = std::max<size_t>(1, count / 20);
          Values<double> some;
          Values<Exact> exact;
          for (size_t i = k % stride; i < count; i += stride) {  // 20 entries or a few more of each
            some.push_back(result.gradients[k][i]);
            exact.push_back(derivative(p, k, i));
          }
          BOOST_TEST_CONTEXT("variable " << k) { check_close(some, exact, 2000); }
        }
      }
}

BOOST_AUTO_TEST_CASE(f32_gradients_are_near_those_in_f64) {
  for (CellKind kind : kKinds)
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        const Problem p(kind, sizes);
        const Result<float> f32 = run<float>(p);
        const Result<double> f64 = run<double>(p);
        for (size_t k = 0; k < 7; ++k) BOOST_TEST_CONTEXT("variable " << k) {
            check_close(f32.gradients[k], as<Exact>(f64.gradients[k]), 500);
          }
      }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(bitwise_the_same_on_any_number_of_threads, T, Scalars) {
  for (CellKind kind : kKinds)
    for (const Sizes& sizes :
         {Sizes{3, 200, 9, 21, true, false}, Sizes{9, 70, 40, 64, false, false}})
      BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        const Problem p(kind, sizes);
        set_threads(1);
        const Result<T> one = run<T>(p);
        for (int count : {2, 3}) {
          set_threads(count);
          const Result<T> more = run<T>(p);
          BOOST_TEST(same_bits(one.h, more.h));
          BOOST_TEST(same_bits(one.c, more.c));
          BOOST_TEST(same_bits(one.y, more.y));
          for (size_t k = 0; k < 7; ++k)
            BOOST_TEST(same_bits(one.gradients[k], more.gradients[k]), "variable " << k);
        }
      }
}

// A first state that is known to be 0 takes no product.
BOOST_AUTO_TEST_CASE_TEMPLATE(from_zero_is_from_a_state_of_zeros, T, Scalars) {
  set_threads(2);
  for (CellKind kind : kKinds)
    for (const Sizes& sizes : kSizes) BOOST_TEST_CONTEXT(describe(kind, sizes)) {
        Problem p(kind, sizes);
        std::fill(p.h.begin(), p.h.end(), 0);
        const Result<T> product = run<T>(p);
        p.from_zero = true;
        const Result<T> without = run<T>(p);
        BOOST_TEST(same_bits(product.h, without.h));
        BOOST_TEST(same_bits(product.c, without.c));
        BOOST_TEST(same_bits(product.y, without.y));
        for (size_t k = 0; k < 7; ++k) BOOST_TEST_CONTEXT("variable " << k) {
            check_close(without.gradients[k], as<Exact>(as<double>(product.gradients[k])), 100);
          }
      }
}

// Sums that were there before stay in.
BOOST_AUTO_TEST_CASE(weight_gradients_are_added_on_request) {
  for (CellKind kind : kKinds) {
    const Problem p(kind, {3, 4, 2, 5, false, false});
    const Inputs<double> in(p);
    const Recurrence<double> r = in.recurrence(p);
    const Values<double> h = states<double>(p, p.h);
    Values<double> dgates(static_cast<size_t>(12 * kept_gates_of(kind) * 5), 0.5);
    const auto gradients = [&](bool add, double before) {
      Values<double> all;
      for (const auto* w : {&in.w_ih, &in.w_hh, &in.b_ih, &in.b_hh})
        all.insert(all.end(), w->size(), before);
      double* d[] = {all.data(), all.data() + in.w_ih.size(),
                     all.data() + in.w_ih.size() + in.w_hh.size(),
                     all.data() + in.w_ih.size() + in.w_hh.size() + in.b_ih.size()};
      recurrence_weight_gradients<double>(r, h.data(), dgates.data(),
                                          {{d[0], add}, {d[1], add}, {d[2], add}, {d[3], add}});
      return all;
    };
    const Values<double> fresh = gradients(false, 99), added = gradients(true, 3);
    for (size_t i = 0; i < fresh.size(); ++i)
      BOOST_TEST(added[i] == fresh[i] + 3, boost::test_tools::tolerance(1e-14));
  }
}

// One step of every level, beside the definition, in rows that are no whole vectors.
BOOST_AUTO_TEST_CASE_TEMPLATE(every_level_is_the_definition, T, Scalars) {
  constexpr int64_t rows = 3, hidden = 37;
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    for (CellKind kind : kKinds) {
      BOOST_TEST_CONTEXT(name(isa) << " " << kNames[static_cast<int>(kind)]) {
        const Problem p(kind, {1, rows, 0, hidden, false, true});
        const int64_t gates = gates_of(kind), kept = kept_gates_of(kind);
        Values<Exact> h = states<Exact>(p, p.h), c = states<Exact>(p, p.c), y;
        Problem no_product = p;
        std::fill(no_product.w_hh.begin(), no_product.w_hh.end(), 0);
        define(no_product, h, c, y);
        Values<T> sums(static_cast<size_t>(rows * kept * hidden)),
            bias(static_cast<size_t>(kept * hidden)), first = as<T>(p.h), cells = as<T>(p.c),
                                                      next_h(first.size()), next_c(cells.size());
        for (int64_t k = 0; k < rows; ++k)
          for (int64_t i = 0; i < gates * hidden; ++i)
            sums[static_cast<size_t>(k * kept * hidden + i)] =
                static_cast<T>(p.x[static_cast<size_t>(k * gates * hidden + i)]);
        for (int64_t i = 0; i < kept * hidden; ++i) {
          const auto at = static_cast<size_t>(i);
          const int64_t u = kind == CellKind::gru ? 2 * hidden : -1;  // n has its biases apart
          if (kind == CellKind::gru && i >= 3 * hidden)
            bias[at] = static_cast<T>(p.b_hh[static_cast<size_t>(i - hidden)]);
          else if (u >= 0 && i >= u)
            bias[at] = static_cast<T>(p.b_ih[at]);
          else
            bias[at] = static_cast<T>(p.b_ih[at] + p.b_hh[at]);
        }
        if (gates == 1) next_h = sums;
        table_for<RnnKernels<T>>(isa).step[static_cast<int>(kind)](
            rows, hidden, bias.data(), first.data(), cells.empty() ? nullptr : cells.data(),
            gates == 1 ? next_h.data() : sums.data(), next_h.data(),
            cells.empty() ? nullptr : next_c.data());
        check_close(next_h, Values<Exact>(h.begin() + rows * hidden, h.end()), 20);
        if (!cells.empty())
          check_close(next_c, Values<Exact>(c.begin() + rows * hidden, c.end()), 20);
      }
    }
  }
}

// A sequence that has ended keeps its state, whatever its inputs are; NaN in a valid step passes.
BOOST_AUTO_TEST_CASE(states_stay_where_not_valid) {
  for (CellKind kind : kKinds) BOOST_TEST_CONTEXT(kNames[static_cast<int>(kind)]) {
      Problem p(kind, {4, 2, 3, 5, true, false});
      p.valid = {1, 1, 0, 0, 1, 1, 1, 1};
      for (size_t i = 6; i < 12; ++i) p.x[i] = std::numeric_limits<double>::quiet_NaN();
      const Result<double> r = run<double>(p);
      for (size_t j = 0; j < 5; ++j) {
        BOOST_TEST(r.h[4 * 10 + j] == r.h[2 * 10 + j]);
        BOOST_TEST(r.y[2 * 5 + j] == 0);
        BOOST_TEST(std::isfinite(r.gradients[5][j]));
      }
      p.x[3 * 4 * 1] = std::numeric_limits<double>::quiet_NaN();
      const Result<double> broken = run<double>(p);
      BOOST_TEST(std::isnan(broken.h[4 * 10 + 5]));
    }
}
