#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/lengths.h>
#include <gradus/layers/positions.h>

#include <algorithm>
#include <limits>

namespace gradus {

namespace {

/// The keys (N, Tk) that a query may look at, by `valid` and by the mask if that is of a fitting
/// shape; empty: all. What no query sees must not meet the projections' gradients, either.
Tensor seen_keys(const AttentionMask& mask, const Tensor& key) {
  const Tensor& m = mask.mask;
  const int64_t n = key.size(0), keys = key.size(1);
  const auto fits = [](int64_t size, int64_t whole) { return size == 1 || size == whole; };
  const int last = m ? m.ndim() - 1 : 0;
  if (!m || m.ndim() < 2 || m.ndim() > 4 || m.dtype() == DType::i64 ||
      !fits(m.shape()[last], keys) || (m.ndim() == 4 && !fits(m.shape()[0], n)))
    return mask.valid;
  const NoRecord pause;
  constexpr double barrier = -std::numeric_limits<double>::infinity();
  const Tensor may = m.dtype() == DType::boolean ? m : not_equal(m, barrier);
  Axes others;  // queries and heads
  for (int i = std::max(0, last - 2); i < last; ++i) others.push_back(i);
  const Tensor any = greater(sum(cast(may, DType::f32), others, true), 0);
  if (all(any)) return mask.valid;
  const Tensor seen = raw::contiguous(raw::expand(
      raw::reshape(any, {m.ndim() == 4 ? m.shape()[0] : 1, m.shape()[last]}), {n, keys}));
  return mask.valid ? logical_and(seen, mask.valid) : seen;
}

}  // namespace

MultiHeadAttention::MultiHeadAttention(int64_t embed_dim, int64_t heads,
                                       MultiHeadAttentionOptions options)
    : out_proj(embed_dim, embed_dim, {.bias = options.bias, .zero_bias = true}),
      heads_(heads),
      options_(options) {
  check(heads > 0 && embed_dim % heads == 0,
        "MultiHeadAttention: {} features do not divide into {} heads", embed_dim, heads);
  in_proj_weight =
      Parameter({3 * embed_dim, embed_dim}, Init::xavier_uniform(embed_dim, 3 * embed_dim));
  if (options.bias) in_proj_bias = Parameter({3 * embed_dim}, Init::zeros());
}

AttentionOptions MultiHeadAttention::options_of(const AttentionMask& mask) const {
  return {.mask = mask.mask,
          .key_padding = mask.valid,
          .causal = mask.causal,
          .dropout = training() ? options_.dropout : 0};
}

Tensor MultiHeadAttention::forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                   const AttentionMask& mask) {
  const ForwardScope scope(*this);
  const int64_t e = in_proj_weight.size(1);
  const auto project = [&](const Tensor& x, int64_t part) {
    check(x.ndim() == 3 && x.size(2) == e, "MultiHeadAttention: needs (N, T, {}), got {}", e,
          x.shape());
    const Tensor bias = in_proj_bias ? slice(in_proj_bias, 0, part * e, (part + 1) * e) : Tensor();
    return linear(x, slice(in_proj_weight, 0, part * e, (part + 1) * e), bias);
  };
  const Tensor seen = key.ndim() == 3 ? seen_keys(mask, key) : Tensor();
  const auto clear = [&](const Tensor& x) { return seen ? clear_padding(x, seen) : x; };
  const auto heads = [&](const Tensor& x) {  // (N, T, E) -> (N, heads, T, E / heads)
    return transpose(reshape(x, {x.size(0), x.size(1), heads_, e / heads_}), 1, 2);
  };
  const auto placed = [&](const Tensor& x) { return options_.rotary ? rotary(x) : x; };
  return joined(scaled_dot_product_attention(placed(heads(project(query, 0))),
                                             placed(heads(project(clear(key), 1))),
                                             heads(project(clear(value), 2)), options_of(mask)));
}

/// (N, heads, T, E / heads) -> (N, T, E)
Tensor MultiHeadAttention::joined(const Tensor& y) {
  return out_proj(flatten(transpose(y, 1, 2), 2));
}

Tensor MultiHeadAttention::forward(const Tensor& x, const AttentionMask& mask) {
  const ForwardScope scope(*this);
  if (options_.rotary) {
    const Tensor y = forward(x, x, x, mask);
    return mask.valid ? clear_padding(y, mask.valid) : y;
  }
  check(x.ndim() == 3 && x.size(2) == in_proj_weight.size(1),
        "MultiHeadAttention: needs (N, T, {}), got {}", in_proj_weight.size(1), x.shape());
  const Tensor qkv =
      linear(mask.valid ? clear_padding(x, mask.valid) : x, in_proj_weight, in_proj_bias);
  const Tensor y = out_proj(self_attention(qkv, heads_, options_of(mask)));
  return mask.valid ? clear_padding(y, mask.valid) : y;
}

KeyValueCache::KeyValueCache(const KeyValueCache& other)
    : keys_(other.keys_ ? raw::clone(other.keys_) : Tensor()),
      values_(other.values_ ? raw::clone(other.values_) : Tensor()),
      length_(other.length_) {}

KeyValueCache& KeyValueCache::operator=(const KeyValueCache& other) {
  return *this = KeyValueCache(other);
}

namespace {

/// `all` with room for `length` positions (axis 2), those before `kept` as they are, and `part`
/// behind them; like part where there is no `all`.
void append(Tensor& all, int64_t kept, const Tensor& part) {
  constexpr int64_t kLeastRoom = 16;
  const int64_t length = kept + part.size(2);
  if (!all || all.size(2) < length) {
    Shape shape = part.shape();
    shape[2] = std::max({kLeastRoom, length, 2 * kept});
    Tensor larger = empty(shape, part.dtype());
    if (kept > 0) {
      Tensor begin = slice(larger, 2, 0, kept);
      raw::copy(slice(all, 2, 0, kept), begin);
    }
    all = std::move(larger);
  }
  Tensor end = slice(all, 2, kept, length);
  raw::copy(part, end);
}

/// (queries, keys): query i, `before` keys having gone before it and its like, looks at those up to
/// it.
Tensor up_to_each(int64_t queries, int64_t before) {
  const int64_t keys = before + queries;
  const Tensor positions = arange(keys);
  return less_equal(reshape(positions, {1, keys}),
                    reshape(slice(positions, 0, before, keys), {queries, 1}));
}

}  // namespace

Tensor MultiHeadAttention::forward(const Tensor& x, KeyValueCache& cache) {
  const ForwardScope scope(*this);
  const int64_t e = in_proj_weight.size(1), before = cache.length_;
  check(x.ndim() == 3 && x.size(2) == e && x.size(1) > 0,
        "MultiHeadAttention: needs (N, T, {}) with positions behind the {} in the cache, got {}", e,
        before, x.shape());
  const int64_t n = x.size(0), steps = x.size(1);
  const Tensor qkv = linear(x, in_proj_weight, in_proj_bias);
  check(!needs_grad(qkv),
        "MultiHeadAttention: a tape records, but a cache keeps no gradients; say NoRecord");
  check(before == 0 || (cache.keys_.size(0) == n && cache.keys_.size(1) == heads_ &&
                        cache.keys_.size(3) * heads_ == e && cache.keys_.dtype() == x.dtype()),
        "MultiHeadAttention: x {} does not go on from a cache of {} {}", x.shape(),
        cache.keys_ ? cache.keys_.shape() : Shape(), before);
  TensorList parts = unbind(reshape(qkv, {n, steps, 3, heads_, e / heads_}), 2);
  for (Tensor& part : parts) part = transpose(part, 1, 2);
  if (options_.rotary) {
    parts[0] = rotary(parts[0], before);
    parts[1] = rotary(parts[1], before);
  }
  append(cache.keys_, before, parts[1]);
  append(cache.values_, before, parts[2]);
  const AttentionMask past{.mask = steps > 1 && before > 0 ? up_to_each(steps, before) : Tensor(),
                           .causal = steps > 1 && before == 0};
  Tensor y = joined(scaled_dot_product_attention(parts[0], slice(cache.keys_, 2, 0, before + steps),
                                                 slice(cache.values_, 2, 0, before + steps),
                                                 options_of(past)));
  cache.length_ = before + steps;
  return y;
}

void MultiHeadAttention::visit(Visitor& visitor) {
  visitor.parameter("in_proj_weight", in_proj_weight);
  visitor.parameter("in_proj_bias", in_proj_bias);
  visitor.module("out_proj", out_proj);
}

std::string MultiHeadAttention::describe() const {
  return fmt::format("MultiHeadAttention({}, {} heads)", in_proj_weight.size(1), heads_);
}

}  // namespace gradus
