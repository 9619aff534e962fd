#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/attention/attention.h>
#include <gradus/kernels/attention/visible.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus {

namespace {

struct AttentionAttrs {
  double scale;
  bool causal;
};

constexpr double kBarrier = -std::numeric_limits<double>::infinity();

/// 0 where a mask lets pass, -inf where it does not.
Tensor barrier(const Tensor& mask, DType dtype) {
  return where(mask, zeros({}, dtype), full({}, kBarrier, dtype));
}

/// Which query may look at which key, (..., Tq, Tk); empty: each at all.
Tensor visible_keys(const Tensor& q, const Tensor& k, const Tensor& bias,
                    const AttentionAttrs& attrs) {
  Shape scores = q.shape();
  scores[q.ndim() - 1] = k.size(-2);
  if (scores.numel() == 0) return {};
  Tensor visible = bias ? not_equal(bias, kBarrier) : Tensor();
  if (visible && all(visible)) visible = {};
  if (attrs.causal) {
    const int64_t queries = q.size(-2), keys = k.size(-2);
    const Tensor past =
        less_equal(reshape(arange(keys), {1, keys}), reshape(arange(queries), {queries, 1}));
    visible = visible ? logical_and(visible, past) : past;
  }
  if (!visible) return visible;
  return raw::contiguous(raw::expand(visible, scores));
}

// Products over visible pairs alone, each other's gradients. What an invisible pair holds has no
// influence in any order, which 0 for its weight could not achieve: 0 times NaN is NaN.

/// s_ij = a_i b_j where visible, else 0   a: (..., m, d)   b: (..., n, d)   s, visible: (..., m, n)
Tensor visible_scores(const Tensor& a, const Tensor& b, const Tensor& visible);
/// y_i = sum_j p_ij b_j over visible pairs   p, visible: (..., m, n)   b: (..., n, d)
Tensor visible_product(const Tensor& p, const Tensor& b, const Tensor& visible);

}  // namespace

static Op visible_scores_op("visible_scores", [](Backward& ctx) {
  const Tensor a = ctx.kept(0), b = ctx.kept(1), visible = ctx.kept(2);
  const Tensor& dy = ctx.dy();
  if (ctx.needs(0)) ctx.set(0, visible_product(dy, b, visible));
  if (ctx.needs(1)) ctx.set(1, visible_product(transpose(dy), a, transpose(visible)));
});

static Op visible_product_op("visible_product", [](Backward& ctx) {
  const Tensor p = ctx.kept(0), b = ctx.kept(1), visible = ctx.kept(2);
  const Tensor& dy = ctx.dy();
  if (ctx.needs(0)) ctx.set(0, visible_scores(dy, b, visible));
  if (ctx.needs(1)) ctx.set(1, visible_product(transpose(p), dy, transpose(visible)));
});

namespace {

Tensor visible_scores(const Tensor& a, const Tensor& b, const Tensor& visible) {
  Tensor s;
  {
    const NoRecord pause;
    s = where(visible, matmul(a, b, false, true), 0);
  }
  return record(visible_scores_op, std::move(s), {a, b}, {a, b, visible});
}

Tensor visible_product(const Tensor& p, const Tensor& b, const Tensor& visible) {
  Tensor y;
  {
    const NoRecord pause;
    const Tensor seen = where(visible, p, 0);
    if (all_finite(b)) {
      y = matmul(seen, b);
    } else {
      y = matmul(seen, where(less(abs(b), -kBarrier), b, 0));
      const Tensor values = raw::contiguous(b), pairs = raw::contiguous(visible);
      const int64_t m = p.size(-2), n = p.size(-1), d = b.size(-1);
      dispatch_floating(b.dtype(), "visible_product", [&]<class T>() {
        for (int64_t i = 0; i < y.numel() / std::max<int64_t>(1, m * d); ++i) {
          const T* weights = seen.data<T>() + i * m * n;
          const bool* may = pairs.data<bool>() + i * m * n;
          kernels::add_infinite_terms(
              m, d, n, [&](int64_t row, int64_t at) { return weights[row * n + at]; },
              values.data<T>() + i * n * d, d,
              [&](int64_t row, int64_t at) { return may[row * n + at]; },
              y.mutable_data<T>() + i * m * d, d);
        }
      });
    }
  }
  return record(visible_product_op, std::move(y), {p, b}, {p, b, visible});
}

/// a b^T, of the visible pairs if not all are.
Tensor scores_of(const Tensor& a, const Tensor& b, const Tensor& visible) {
  return visible ? visible_scores(a, b, visible) : matmul(a, b, false, true);
}
/// p b or, transposed, p^T b, over the visible pairs.
Tensor product_of(const Tensor& p, const Tensor& b, const Tensor& visible, bool transposed) {
  if (!visible) return matmul(p, b, transposed);
  return transposed ? visible_product(transpose(p), b, transpose(visible))
                    : visible_product(p, b, visible);
}

/// Whether an axis has none.
Tensor none_along_last(const Tensor& visible) {
  return equal(sum(raw::cast(visible, DType::f32), {-1}, true), 0);
}

/// softmax(scale q k^T + bias) in plain ops, 0 where not visible.
Tensor plain_weights(const Tensor& q, const Tensor& k, const Tensor& bias, const Tensor& visible,
                     const AttentionAttrs& attrs) {
  Tensor scores = mul(scores_of(q, k, visible), attrs.scale);
  if (!visible) return softmax(bias ? scores + bias : scores);
  if (bias) scores = scores + where(visible, expand(bias, visible.shape()), 0);
  const Tensor in_softmax = logical_or(visible, none_along_last(visible));
  return where(visible, softmax(where(in_softmax, scores, kBarrier)), 0);
}

struct Gradients {
  Tensor q, k, v, bias;
};

/// With p = softmax(scale q k^T + bias) and s = p (dy v^T - sum_keys p dy v^T):
/// dq = scale s k,  dk = scale s^T q,  dv = p^T dy,  dbias = s, summed where bias was repeated.
Gradients plain_gradients(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                          const AttentionAttrs& attrs, const Tensor& dy) {
  const Tensor visible = visible_keys(q, k, bias, attrs);
  const Tensor p = plain_weights(q, k, bias, visible, attrs);
  Tensor dscores = softmax_backward(p, scores_of(dy, v, visible));
  if (visible) dscores = where(visible, dscores, 0);
  const Tensor s = mul(dscores, attrs.scale);
  return {product_of(s, k, visible, false), product_of(s, q, visible, true),
          product_of(p, dy, visible, true), bias ? sum_to(dscores, bias.shape()) : Tensor()};
}

/// (..., rows, columns) as (outer, inner, rows, columns).
Tensor with_four_axes(const Tensor& x) {
  const int n = x.ndim();
  if (n == 4) return x;
  const int64_t *size = x.shape().begin(), *stride = x.strides();
  if (n < 4) {
    const bool many = n == 3;
    const int64_t strides[] = {0, many ? stride[0] : 0, stride[n - 2], stride[n - 1]};
    return as_strided(x, {1, many ? size[0] : 1, size[n - 2], size[n - 1]}, strides, 0);
  }
  int64_t outer = 1;
  for (int i = 0; i + 3 < n; ++i) outer *= size[i];
  return raw::reshape(x, {outer, size[n - 3], size[n - 2], size[n - 1]});
}

/// x, or a copy if its rows overlap or have gaps inside.
Tensor with_whole_rows(const Tensor& x) {
  const int row = x.ndim() - 2, column = x.ndim() - 1;
  const bool whole =
      (x.strides()[column] == 1 || x.shape()[column] == 1) && x.strides()[row] >= x.shape()[column];
  return with_four_axes(whole ? x : raw::contiguous(x));
}

template <class T>
kernels::Matrices<const T> matrices(const Tensor& x) {
  return {x.strided_data<T>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}
template <class T>
kernels::Matrices<T> matrices_to_fill(Tensor& x) {
  if (!x) return {};
  return {x.mutable_data<T>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}

/// What the kernels read, each of four axes; the bias as large as the scores.
struct Operands {
  Tensor q, k, v, bias;
  AttentionAttrs attrs;

  template <class T>
  kernels::AttentionProblem<T> problem() const {
    kernels::ScoreBias<T> added{};
    if (const int64_t* s = bias ? bias.strides() : nullptr)
      added = {bias.strided_data<T>(), s[0], s[1], s[2], s[3]};
    return {.outer = q.shape()[0],
            .inner = q.shape()[1],
            .queries = q.shape()[2],
            .keys = k.shape()[2],
            .depth = q.shape()[3],
            .value_depth = v.shape()[3],
            .scale = static_cast<T>(attrs.scale),
            .causal = attrs.causal,
            .q = matrices<T>(q),
            .k = matrices<T>(k),
            .v = matrices<T>(v),
            .bias = added};
  }
  void forward(Tensor y) const {
    dispatch_floating(q.dtype(), "attention", [&]<class T>() {
      kernels::attention<T>(problem<T>(), matrices_to_fill<T>(y));
    });
  }
  /// An empty dv, or an empty dq and dk, is not wanted.
  void backward(const Tensor& dy, Tensor dq, Tensor dk, Tensor dv) const {
    dispatch_floating(q.dtype(), "attention", [&]<class T>() {
      kernels::attention_backward<T>(problem<T>(), matrices<T>(dy), matrices_to_fill<T>(dq),
                                     matrices_to_fill<T>(dk), matrices_to_fill<T>(dv));
    });
  }
};

Operands operands(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                  const AttentionAttrs& attrs) {
  Shape scores = q.shape();
  scores[q.ndim() - 1] = k.shape()[k.ndim() - 2];
  return {with_whole_rows(q), with_whole_rows(k), with_whole_rows(v),
          bias ? with_four_axes(raw::expand(bias, scores)) : bias, attrs};
}

}  // namespace

// (docs/derivations/attention.md)
static Op attention_op("attention", [](Backward& ctx) {
  const Tensor q = ctx.kept(0), k = ctx.kept(1), v = ctx.kept(2), bias = ctx.kept(3);
  const auto& attrs = ctx.attrs<AttentionAttrs>();
  Gradients d;
  if (detail::recorder || ctx.needs(3)) {
    d = plain_gradients(q, k, v, bias, attrs, ctx.dy());
  } else {
    if (ctx.needs(0) || ctx.needs(1)) d = {empty_like(q), empty_like(k), {}, {}};
    if (ctx.needs(2)) d.v = empty_like(v);
    const auto view = [](const Tensor& x) { return x ? with_four_axes(x) : x; };
    operands(q, k, v, bias, attrs)
        .backward(with_whole_rows(ctx.dy()), view(d.q), view(d.k), view(d.v));
  }
  ctx.set(0, std::move(d.q));
  ctx.set(1, std::move(d.k));
  ctx.set(2, std::move(d.v));
  ctx.set(3, std::move(d.bias));
});

namespace {

constexpr const char* kName = "scaled_dot_product_attention";

void check_padding(const Tensor& there, const Shape& scores) {
  if (!there) return;
  const Shape needed{scores[0], scores.back()};
  check(there.dtype() == DType::boolean && scores.ndim() > 2 && there.shape() == needed,
        "{}: key_padding is {} {}, must be bool {} for the scores {}", kName, name(there.dtype()),
        there.shape(), needed, scores);
}

/// The mask and the padding as what is added to the scores.
Tensor checked_bias(const AttentionOptions& options, const Shape& scores, DType dtype) {
  Tensor bias;
  if (options.mask) {
    const bool additive = options.mask.dtype() != DType::boolean;
    check(!additive || options.mask.dtype() == dtype, "{}: the mask is {}, must be bool or {}",
          kName, name(options.mask.dtype()), name(dtype));
    check(broadcast_shapes(kName, options.mask.shape(), scores) == scores,
          "{}: the mask {} is larger than the scores {}", kName, options.mask.shape(), scores);
    bias = additive ? options.mask : barrier(options.mask, dtype);
  }
  check_padding(options.key_padding, scores);
  if (const Tensor& there = options.key_padding) {
    Shape row;
    for (int i = 0; i < scores.ndim(); ++i)
      row.push_back(i == 0 || i == scores.ndim() - 1 ? scores[i] : 1);
    const Tensor keys = reshape(there, row);
    bias = bias ? where(keys, bias, kBarrier) : barrier(keys, dtype);
  }
  return bias;
}

/// x where there are keys, else 0: what is multiplied by 0 must not be NaN.
Tensor without_padding(const Tensor& x, const Tensor& there) {
  Shape shape;
  for (int i = 0; i < x.ndim(); ++i) shape.push_back(i == 0 || i == x.ndim() - 2 ? x.size(i) : 1);
  return where(reshape(there, shape), x, zeros({}, x.dtype()));
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  check_same_dtype(kName, q, k);
  check_same_dtype(kName, q, v);
  bool fits = q.ndim() >= 2 && q.ndim() == k.ndim() && q.ndim() == v.ndim();
  for (int i = 0; i < q.ndim() - 2 && fits; ++i)
    fits = q.shape()[i] == k.shape()[i] && q.shape()[i] == v.shape()[i];
  check(fits && q.size(-1) == k.size(-1) && k.size(-2) == v.size(-2),
        "{}: q {}, k {} and v {} do not fit: q and k share the last size, k and v the one before, "
        "all of them the others",
        kName, q.shape(), k.shape(), v.shape());
  Shape scores = q.shape(), result = q.shape();
  scores[q.ndim() - 1] = k.size(-2);
  result[q.ndim() - 1] = v.size(-1);
  const Tensor bias = checked_bias(options, scores, q.dtype());
  const AttentionAttrs attrs{
      options.scale.value_or(1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, q.size(-1))))),
      options.causal};
  check_number(kName, attrs.scale, q.dtype());
  if (options.dropout != 0) {
    const Tensor visible = visible_keys(q, k, bias, attrs);
    const Tensor p = dropout(plain_weights(q, k, bias, visible, attrs), options.dropout);
    return product_of(p, v, visible, false);
  }
  Tensor y = empty(result, q.dtype());
  if (y.numel() > 0) operands(q, k, v, bias, attrs).forward(with_four_axes(y));
  return record(attention_op, std::move(y), {q, k, v, bias}, {q, k, v, bias}, attrs);
}

Tensor self_attention(const Tensor& qkv, int64_t heads, const AttentionOptions& options) {
  check(qkv.ndim() == 3 && heads > 0 && qkv.size(2) % 3 == 0 && qkv.size(2) / 3 % heads == 0,
        "self_attention: qkv is {}, must be (N, T, 3 E) with E a multiple of {} heads", qkv.shape(),
        heads);
  const int64_t n = qkv.size(0), steps = qkv.size(1);
  const Tensor& there = options.key_padding;
  check_padding(there, {n, heads, steps, steps});
  const TensorList parts =  // of (N, T, heads, E / heads)
      unbind(reshape(there ? without_padding(qkv, there) : qkv,
                     {n, steps, 3, heads, qkv.size(2) / (3 * heads)}),
             2);
  const Tensor y = scaled_dot_product_attention(
      transpose(parts[0], 1, 2), transpose(parts[1], 1, 2), transpose(parts[2], 1, 2), options);
  return flatten(transpose(y, 1, 2), 2);
}

}  // namespace gradus
