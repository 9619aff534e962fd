#define BOOST_TEST_MODULE attention
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

/// The definition for q (N, H, Tq, D), query by query over the keys it may look at.
/// score_bias(n, h, i, j): what is added to a score; -inf: may not look.
template <class Bias>
std::vector<double> defined(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                            Bias score_bias) {
  std::vector<double> y;
  for (int64_t n = 0; n < q.size(0); ++n)
    for (int64_t h = 0; h < q.size(1); ++h)
      for (int64_t i = 0; i < q.size(2); ++i) {
        std::vector<double> weights, row(static_cast<size_t>(v.size(3)));
        double total = 0;
        for (int64_t j = 0; j < k.size(2); ++j) {
          double dot = 0;
          const double bias = score_bias(n, h, i, j);
          if (bias != -kInf)
            for (int64_t d = 0; d < q.size(3); ++d) dot += q.at({n, h, i, d}) * k.at({n, h, j, d});
          weights.push_back(bias == -kInf ? 0 : std::exp(scale * dot + bias));
          total += weights.back();
        }
        for (int64_t j = 0; j < k.size(2); ++j)
          if (weights[static_cast<size_t>(j)] != 0)
            for (size_t d = 0; d < row.size(); ++d)
              row[d] += weights[static_cast<size_t>(j)] / total *
                        v.at({n, h, j, static_cast<int64_t>(d)});
        y.insert(y.end(), row.begin(), row.end());
      }
  return y;
}

constexpr int64_t kBatch = 3, kHeads = 2, kQueries = 4, kKeys = 5;
const Shape kQ{kBatch, kHeads, kQueries, 3}, kK{kBatch, kHeads, kKeys, 3},
    kV{kBatch, kHeads, kKeys, 2};
const std::vector<int64_t> kLengths = {5, 3, 1};

/// (N, Tk): the keys before each length.
Tensor keys_before(const std::vector<int64_t>& lengths) {
  return less(reshape(arange(kKeys), {1, kKeys}),
              reshape(Tensor::from(lengths, {kBatch}), {-1, 1}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_are_the_definition) {
  const Tensor mask = greater(sample({kHeads, kQueries, kKeys}, 4), -0.5),
               added = sample({kBatch, 1, 1, kKeys}, 5).set_requires_grad(false);
  const double scale = 1 / std::sqrt(3.0);
  const auto allowed = [](bool allow) { return allow ? 0 : -kInf; };
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor q = raw::cast(sample(kQ, 1), dtype), k = raw::cast(sample(kK, 2), dtype),
                 v = raw::cast(sample(kV, 3), dtype);
    const double tolerance = dtype == DType::f32 ? 2e-6 : 1e-14;
    const auto check = [&](const std::string& what, const AttentionOptions& options, double by,
                           auto bias) {
      check_close(what + name(dtype), scaled_dot_product_attention(q, k, v, options),
                  defined(q, k, v, by, bias), tolerance);
    };
    using I = int64_t;
    check("plain ", {}, scale, [](I, I, I, I) { return 0.0; });
    check("scaled ", {.scale = -0.7}, -0.7, [](I, I, I, I) { return 0.0; });
    check("causal ", {.causal = true}, scale, [&](I, I, I i, I j) { return allowed(j <= i); });
    check("boolean ", {.mask = mask}, scale, [&](I, I h, I i, I j) {
      return allowed(mask.at({h, i, j}) != 0);
    });
    check("added ", {.mask = raw::cast(added, dtype)}, scale, [&](I n, I, I, I j) {
      return added.at({n, 0, 0, j});
    });
    check("lengths ", {.key_padding = keys_before(kLengths)}, scale,
          [&](I n, I, I, I j) { return allowed(j < kLengths[static_cast<size_t>(n)]); });
    check("all ",
          {.mask = raw::cast(added, dtype), .key_padding = keys_before(kLengths), .causal = true},
          scale, [&](I n, I, I i, I j) {
            return j <= i && j < kLengths[static_cast<size_t>(n)] ? added.at({n, 0, 0, j}) : -kInf;
          });
  }
}

// NaN behind the lengths: the same, with all gradients and the second order, as those keys gone.
BOOST_AUTO_TEST_CASE(padding_has_no_influence) {
  const Tensor there = keys_before(kLengths), column = reshape(there, {kBatch, 1, kKeys, 1});
  const Tensor nan = full({}, kNan, DType::f64);
  const Tensor q = sample(kQ, 1), k = where(column, sample(kK, 2), nan).set_requires_grad(),
               v = where(column, sample(kV, 3), nan).set_requires_grad(),
               dy = sample({3, 2, 4, 2}, 4), u = sample(kQ, 5).set_requires_grad(false);
  const auto all = [&](const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& g,
                       const Tensor& direction, const Tensor& padding) {
    Tape tape;
    const Tensor y = scaled_dot_product_attention(a, b, c, {.key_padding = padding});
    auto d = tape.gradient(y, {a, b, c}, {.create_graph = CreateGraph::yes, .dy = g});
    for (Tensor& t : tape.gradient(sum(d[0] * direction), {a, b, c})) d.push_back(t);
    d.push_back(y);
    return d;
  };
  const auto padded = all(q, k, v, dy, u, there);
  for (int64_t n = 0; n < kBatch; ++n) {
    const int64_t length = kLengths[static_cast<size_t>(n)];
    const auto of = [&](const Tensor& t, bool keys) {
      const Tensor one = slice(t, 0, n, n + 1);
      return raw::clone(keys ? slice(one, 2, 0, length) : one);
    };
    const auto alone = all(of(q, false).set_requires_grad(), of(k, true).set_requires_grad(),
                           of(v, true).set_requires_grad(), of(dy, false), of(u, false), {});
    for (size_t i = 0; i < alone.size(); ++i) {
      const bool keys = i < 6 && i % 3 != 0;
      const std::string what = "result " + std::to_string(i) + " of " + std::to_string(n);
      check_close(what, of(padded[i], keys), alone[i].to_vector<double>(), 1e-12);
      if (!keys) continue;
      for (double rest : slice(slice(padded[i], 0, n, n + 1), 2, length, kKeys).to_vector<double>())
        BOOST_TEST(rest == 0, what);
    }
  }
}

// q, k and v in one tensor: the values and the gradient of three, NaN in padding or not.
BOOST_AUTO_TEST_CASE(a_sequence_over_itself) {
  const int64_t heads = 2, steps = 5, e = 6;
  const Tensor there = keys_before(kLengths), column = reshape(there, {kBatch, steps, 1}),
               clean = where(column, sample({kBatch, steps, 3 * e}, 1), zeros({}, DType::f64))
                           .set_requires_grad(),
               padded = where(column, clean, full({}, kNan, DType::f64)).set_requires_grad(),
               dy = sample({kBatch, steps, e}, 2), added = sample({heads, 1, steps}, 3);
  for (DType dtype : {DType::f64, DType::f32})
    for (bool causal : {false, true}) {
      const double tolerance = dtype == DType::f64 ? 1e-13 : 2e-6;
      const AttentionOptions options{
          .mask = raw::cast(added, dtype), .key_padding = there, .causal = causal};
      const Tensor x = raw::cast(clean, dtype).set_requires_grad(),
                   with_nan = raw::cast(padded, dtype).set_requires_grad(),
                   g = raw::cast(dy, dtype);
      Tape tape;
      const auto third = [&](int64_t i) {
        return transpose(reshape(slice(x, 2, i * e, (i + 1) * e), {kBatch, steps, heads, -1}), 1,
                         2);
      };
      const Tensor three = flatten(
          transpose(scaled_dot_product_attention(third(0), third(1), third(2), options), 1, 2), 2);
      const auto expected = tape.gradient(three, x, {.dy = g}).to_vector<double>();
      for (const Tensor& qkv : {x, with_nan}) {
        const Tensor y = self_attention(qkv, heads, options);
        check_close("y", y, three.to_vector<double>(), tolerance);
        const Tensor d = tape.gradient(y, qkv, {.dy = g});
        BOOST_TEST(all_finite(d));
        // A query in padding passes no gradient on to itself where it has been cleared.
        check_close("dqkv", where(column, d, zeros({}, dtype)),
                    where(column, Tensor::from(expected, d.shape()), zeros({}, DType::f64))
                        .to_vector<double>(),
                    tolerance);
      }
    }
}

// Leading axes beyond two, rows with gaps inside, a mask that is repeated along the keys.
BOOST_AUTO_TEST_CASE(any_layout) {
  const Shape shape{2, 3, 2, 4, 3};
  const Tensor q = sample(shape, 1), k = sample(shape, 2), v = sample(shape, 3),
               mask = sample({2, 1, 2, 4, 1}, 4);
  const auto turned = [](const Tensor& x) {  // the same values, of columns that lie apart
    return transpose(raw::clone(transpose(x)));
  };
  const auto fold = [](const Tensor& x) { return raw::reshape(x, {6, 2, 4, -1}); };
  const Tensor wide = raw::contiguous(raw::expand(mask, {2, 3, 2, 4, 4}));
  const auto expected =
      scaled_dot_product_attention(fold(q), fold(k), fold(v), {.mask = fold(wide), .causal = true})
          .to_vector<double>();
  check_close("five axes", scaled_dot_product_attention(q, k, v, {.mask = mask, .causal = true}),
              expected, 1e-14);
  check_close("turned",
              scaled_dot_product_attention(turned(fold(q)), turned(fold(k)), turned(fold(v)),
                                           {.mask = turned(fold(wide)), .causal = true}),
              expected, 1e-14);
}

BOOST_AUTO_TEST_CASE(a_query_that_may_look_at_nothing) {
  const Tensor q = sample(kQ, 1), k = sample(kK, 2), v = sample(kV, 3);
  // Query 2 sees nothing, nor does the whole of sequence 1.
  const Tensor mask = not_equal(reshape(arange(kQueries), {kQueries, 1}), 2);
  for (bool additive : {false, true}) {
    const Tensor barrier = full({}, -kInf, DType::f64), zero = zeros({}, DType::f64);
    const Tensor leaf = where(mask, zero, barrier).set_requires_grad();
    Tape tape;
    const Tensor y = scaled_dot_product_attention(
        q, k, v, {.mask = additive ? leaf : mask, .key_padding = keys_before({5, 0, 2})});
    const auto d = tape.gradient(y, {q, k, v}, {.dy = sample(y.shape(), 4)});
    const auto zero_throughout = [](const Tensor& t) {
      return std::ranges::all_of(t.to_vector<double>(), [](double x) { return x == 0; });
    };
    for (const Tensor& t : {y, d[0]}) {
      BOOST_TEST(zero_throughout(select(t, 2, 2)));
      BOOST_TEST(zero_throughout(select(t, 0, 1)));
      BOOST_TEST(!zero_throughout(select(select(t, 2, 1), 0, 0)));
    }
    for (const Tensor& t : {d[1], d[2]}) {
      BOOST_TEST(all_finite(t));
      BOOST_TEST(zero_throughout(select(t, 0, 1)));
    }
  }
}

// With v the identity, y is the weights: each is dropped, or divided by 1 - p.
BOOST_AUTO_TEST_CASE(dropout_of_the_weights) {
  const double p = 0.3;
  const Tensor q = sample({40, 3}, 1), k = sample({50, 3}, 2), v = eye(50, DType::f64);
  const auto kept = scaled_dot_product_attention(q, k, v).to_vector<double>(),
             dropped = scaled_dot_product_attention(q, k, v, {.dropout = p}).to_vector<double>();
  double zeros = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (dropped[i] == 0)
      ++zeros;
    else
      BOOST_TEST(dropped[i] == kept[i] / (1 - p), boost::test_tools::tolerance(1e-13));
  }
  // 2000 draws: five standard deviations.
  BOOST_TEST(std::abs(zeros / 2000 - p) < 5 * std::sqrt(p * (1 - p) / 2000));
}

BOOST_AUTO_TEST_CASE(large_scores) {
  const Tensor q = mul(sample({3, 4}, 1), 1e3), k = mul(sample({5, 4}, 2), 1e3),
               v = eye(5, DType::f64);
  const Tensor y = scaled_dot_product_attention(q, k, v);
  for (double total : sum(y, {1}).to_vector<double>())
    BOOST_TEST(total == 1, boost::test_tools::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(the_same_bits_on_any_threads) {
  const int before = threads();
  std::vector<std::vector<float>> first;
  for (int count : {1, 2, 3}) {
    set_threads(count);
    std::vector<Tensor> in;
    for (uint64_t seed : {1, 2, 3})
      in.push_back(raw::cast(sample({5, 4, 37, 24}, seed), DType::f32).set_requires_grad());
    Tape tape;
    const Tensor y = scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true});
    std::vector<std::vector<float>> bits{y.to_vector<float>()};
    const Tensor dy = raw::cast(sample(y.shape(), 4), DType::f32);
    for (const Tensor& d : tape.gradient(y, in, {.dy = dy})) bits.push_back(d.to_vector<float>());
    if (first.empty()) first = bits;
    BOOST_TEST((bits == first), count << " threads");
  }
  set_threads(before);
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor q = zeros({2, 4, 3}), k = zeros({2, 5, 3}), v = zeros({2, 5, 6});
  const auto run = [&](const AttentionOptions& options) {
    return scaled_dot_product_attention(q, k, v, options);
  };
  BOOST_CHECK_EXCEPTION(scaled_dot_product_attention(q, zeros({2, 5, 4}), v), Error,
                        says("q (2, 4, 3), k (2, 5, 4) and v (2, 5, 6) do not fit"));
  BOOST_CHECK_EXCEPTION(scaled_dot_product_attention(q, k, zeros({2, 4, 6})), Error, says("fit"));
  BOOST_CHECK_EXCEPTION(scaled_dot_product_attention(q, zeros({3, 5, 3}), v), Error, says("fit"));
  BOOST_CHECK_EXCEPTION(scaled_dot_product_attention(zeros({3}), k, v), Error, says("fit"));
  BOOST_CHECK_EXCEPTION(scaled_dot_product_attention(q, k, zeros({2, 5, 6}, DType::f64)), Error,
                        says("dtypes f32 and f64 do not mix"));
  BOOST_CHECK_EXCEPTION(run({.mask = zeros({4, 6})}), Error, says("(4, 6)"));
  BOOST_CHECK_EXCEPTION(run({.mask = zeros({3, 1, 4, 5})}), Error,
                        says("the mask (3, 1, 4, 5) is larger than the scores (2, 4, 5)"));
  BOOST_CHECK_EXCEPTION(run({.mask = zeros({4, 5}, DType::i64)}), Error,
                        says("the mask is i64, must be bool or f32"));
  BOOST_CHECK_EXCEPTION(
      run({.key_padding = zeros({2, 4}, DType::boolean)}), Error,
      says("key_padding is bool (2, 4), must be bool (2, 5) for the scores (2, 4, 5)"));
  BOOST_CHECK_EXCEPTION(run({.key_padding = zeros({2, 5})}), Error, says("key_padding is f32"));
  BOOST_CHECK_EXCEPTION(self_attention(zeros({2, 3, 8}), 2), Error,
                        says("qkv is (2, 3, 8), must be (N, T, 3 E) with E a multiple of 2 heads"));
  BOOST_CHECK_EXCEPTION(self_attention(zeros({2, 3, 6}), 0), Error, says("0 heads"));
  BOOST_CHECK_EXCEPTION(self_attention(zeros({3, 6}), 1), Error, says("qkv is (3, 6)"));
  BOOST_CHECK_EXCEPTION(self_attention(zeros({2, 3, 6}), 2, {.mask = zeros({2, 1, 3, 4})}), Error,
                        says("(2, 1, 3, 4)"));
  BOOST_CHECK_EXCEPTION(
      self_attention(zeros({2, 3, 6}), 2, {.key_padding = zeros({2, 4}, DType::boolean)}), Error,
      says("key_padding is bool (2, 4), must be bool (2, 3) for the scores (2, 2, 3, 3)"));
}

BOOST_AUTO_TEST_CASE(five_axes_without_a_query) {
  const Tensor q = zeros({2, 2, 2, 0, 3}, DType::f64), k = sample({2, 2, 2, 4, 3}, 1);
  BOOST_TEST((scaled_dot_product_attention(q, k, k).shape() == Shape{2, 2, 2, 0, 3}));
}
