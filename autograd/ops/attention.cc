#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/autograd/sample.h>
#include <gradus/tensor/kernels/softmax.h>

#include <cmath>
#include <limits>

namespace gradus {

namespace {

struct AttentionAttrs {
  double scale;
};

Tensor product(const Tensor& a, const Tensor& b, bool ta = false, bool tb = false) {
  return matmul(a, b, ta, tb);
}

/// p = softmax(scale q k^T + bias), in place of the scores, outside of any tape.
Tensor weights_of(const Tensor& q, const Tensor& k, const Tensor& bias, double scale) {
  const NoRecord pause;
  Tensor scores = mul(product(q, k, false, true), scale);
  if (bias) scores = scores + bias;
  return softmax(scores);
}

Tensor attention_core(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                      double scale);

std::vector<OpSample> attention_samples() {
  const auto run = [](AttentionOptions options) {
    return [=](std::span<const Tensor> x) {
      return scaled_dot_product_attention(x[0], x[1], x[2], options);
    };
  };
  const auto inputs = [] {
    return std::vector{sample({3, 2, 4, 3}, 1), sample({3, 2, 5, 3}, 2), sample({3, 2, 5, 2}, 3)};
  };
  const Tensor lengths = Tensor::of({5, 3, 1}, DType::i64);
  const Tensor there = less(reshape(arange(5), {1, 5}), reshape(lengths, {3, 1}));
  return {
      {"(3, 2, 4, 3) over 5 keys", inputs(), run({})},
      {"key padding", inputs(), run({.key_padding = there})},
      {"additive mask, itself an input",
       {sample({3, 2, 4, 3}, 1), sample({3, 2, 5, 3}, 2), sample({3, 2, 5, 2}, 3),
        sample({2, 1, 5}, 4)},
       [](std::span<const Tensor> x) {
         return scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3]});
       }},
      {"a query that may look at nothing", inputs(),
       run({.mask = less(reshape(arange(5), {1, 5}), reshape(arange(4), {4, 1}))})},
      {"causal", {sample({4, 3}, 1), sample({4, 3}, 2), sample({4, 3}, 3)}, run({.causal = true})}};
}

}  // namespace

// dq, dk, dv as a function of (q, k, v, dy), from plain ops: with p = softmax(scale q k^T + bias)
// and s = p (dy v^T - sum_keys p dy v^T),  dq = scale s k,  dk = scale s^T q,  dv = p^T dy,
// dbias = s, summed where bias was repeated  (docs/derivations/attention.md)
static Op attention_op(
    "attention",
    [](Backward& ctx) {
      const Tensor q = ctx.kept(0), k = ctx.kept(1), v = ctx.kept(2), kept_p = ctx.kept(3);
      const Tensor& dy = ctx.dy();
      const double scale = ctx.attrs<AttentionAttrs>().scale;
      Tensor p = kept_p;
      if (detail::recorder) {  // p is a cache: its own dependence on q and k counts
        const Tensor bias = ctx.kept(4);
        const Tensor scores = mul(product(q, k, false, true), scale);
        p = softmax(bias ? scores + bias : scores);
      }
      if (ctx.needs(2)) ctx.set(2, product(p, dy, true));
      if (!ctx.needs(0) && !ctx.needs(1) && !ctx.needs(3)) return;
      const Tensor dscores = softmax_backward(p, product(dy, v, false, true));
      if (ctx.needs(3)) ctx.set(3, sum_to(dscores, ctx.input_shape(3)));
      if (!ctx.needs(0) && !ctx.needs(1)) return;
      const Tensor s = mul(dscores, scale);
      if (ctx.needs(0)) ctx.set(0, product(s, k));
      if (ctx.needs(1)) ctx.set(1, product(s, q, true));
    },
    attention_samples);

namespace {

Tensor attention_core(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                      double scale) {
  const Tensor p = weights_of(q, k, bias, scale);
  Tensor y;
  {
    const NoRecord pause;
    y = product(p, v);
  }
  return record(attention_op, std::move(y), {q, k, v, bias}, {q, k, v, p, bias},
                AttentionAttrs{scale});
}

/// 0 where a mask lets pass, -inf where it does not.
Tensor barrier(const Tensor& mask, DType dtype) {
  return where(mask, zeros({}, dtype), full({}, -std::numeric_limits<double>::infinity(), dtype));
}

Tensor causal_mask(int64_t queries, int64_t keys) {
  return less_equal(reshape(arange(keys), {1, keys}), reshape(arange(queries), {queries, 1}));
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  const char* op = "scaled_dot_product_attention";
  check_same_dtype(op, q, k);
  check_same_dtype(op, q, v);
  bool fits = q.ndim() >= 2 && q.ndim() == k.ndim() && q.ndim() == v.ndim();
  for (int i = 0; i < q.ndim() - 2 && fits; ++i)
    fits = q.shape()[i] == k.shape()[i] && q.shape()[i] == v.shape()[i];
  check(fits && q.size(-1) == k.size(-1) && k.size(-2) == v.size(-2),
        "{}: q {}, k {} and v {} do not fit: q and k share the last size, k and v the one before, "
        "all of "
        "them the others",
        op, q.shape(), k.shape(), v.shape());
  const int64_t queries = q.size(-2), keys = k.size(-2);
  Tensor keys_clean = k, values_clean = v, bias;
  const auto add_bias = [&](const Tensor& term) { bias = bias ? bias + term : term; };
  if (options.mask) {
    const bool additive = options.mask.dtype() != DType::boolean;
    Shape scores = q.shape();
    scores[q.ndim() - 1] = keys;
    check(!additive || options.mask.dtype() == q.dtype(), "{}: the mask is {}, must be bool or {}",
          op, name(options.mask.dtype()), name(q.dtype()));
    check(broadcast_shapes(op, options.mask.shape(), scores) == scores,
          "{}: the mask {} is larger than the scores {}", op, options.mask.shape(), scores);
    add_bias(additive ? options.mask : barrier(options.mask, q.dtype()));
  }
  if (options.causal) add_bias(barrier(causal_mask(queries, keys), q.dtype()));
  if (options.key_padding) {
    const Tensor& there = options.key_padding;
    check(
        there.dtype() == DType::boolean && q.ndim() > 2 && there.shape() == Shape{q.size(0), keys},
        "{}: key_padding is {} {}, must be bool {} for k {}", op, name(there.dtype()),
        there.shape(), str({q.size(0), keys}), k.shape());
    Shape column, row;
    for (int i = 0; i < q.ndim(); ++i) {
      column.push_back(i == 0 ? q.size(0) : i == q.ndim() - 2 ? keys : 1);
      row.push_back(i == 0 ? q.size(0) : i == q.ndim() - 1 ? keys : 1);
    }
    const Tensor zero = zeros({}, q.dtype());
    keys_clean = where(reshape(there, column), k, zero);
    values_clean = where(reshape(there, column), v, zero);
    add_bias(barrier(reshape(there, row), q.dtype()));
  }
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(-1))));
  if (options.dropout == 0) return attention_core(q, keys_clean, values_clean, bias, scale);
  Tensor scores = mul(matmul(q, keys_clean, false, true), scale);
  if (bias) scores = scores + bias;
  return matmul(dropout(softmax(scores), options.dropout), values_clean);
}

}  // namespace gradus
