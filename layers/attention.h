#pragma once
#include <gradus/autograd/ops/attention.h>
#include <gradus/layers/linear.h>

namespace gradus {

/// What MultiHeadAttention has beside its sizes.
struct MultiHeadAttentionOptions {
  bool bias = true;    ///< whether the four projections have one
  double dropout = 0;  ///< of the attention weights, in training
  /// Queries and keys are turned by rotary(), each position from 0 on.
  bool rotary = false;
};

/// What a query may look at.
struct AttentionMask {
  Tensor valid = {};  ///< (N, Tk) bool: keys that are there; what stands elsewhere has no influence
  /// (Tq, Tk) or (N, heads, Tq, Tk): bool (true: may look) or added to the scores
  Tensor mask = {};
  bool causal = false;  ///< position i looks at 0 .. i
};

/// The keys and values that a causal self-attention has seen so far, so that the next positions
/// need no more than their own. A copy is one of its own.
class KeyValueCache {
 public:
  KeyValueCache() = default;
  KeyValueCache(const KeyValueCache& other);  ///< a copy
  KeyValueCache(KeyValueCache&&) noexcept = default;
  KeyValueCache& operator=(const KeyValueCache& other);  ///< a copy
  KeyValueCache& operator=(KeyValueCache&&) noexcept = default;
  /// How many positions it holds.
  int64_t length() const { return length_; }

 private:
  friend class MultiHeadAttention;
  Tensor keys_, values_;  // (N, heads, room, E / heads), positions 0 .. length - 1 of it taken
  int64_t length_ = 0;
};

/// Multi-head attention (Vaswani et al. 2017, section 3.2.2), batch first, PyTorch's parameters.
/// query: (N, Tq, E)   key, value: (N, Tk, E)   y: (N, Tq, E)
class MultiHeadAttention : public Module {
 public:
  /// An error unless `heads` divides embed_dim, E.
  MultiHeadAttention(int64_t embed_dim, int64_t heads, MultiHeadAttentionOptions options = {});
  /// Errors name shapes that do not fit.
  Tensor forward(const Tensor& query, const Tensor& key, const Tensor& value,
                 const AttentionMask& mask = {});
  /// Of a sequence over itself: padded queries give 0, too.
  Tensor forward(const Tensor& x, const AttentionMask& mask = {});
  /// Of positions x (N, T, E) that come behind those in the cache, over these and over themselves,
  /// causal: what forward(all, {.causal = true}) gives for them. The cache then holds them, too. It
  /// keeps values alone: an error where a tape records; say NoRecord.
  Tensor forward(const Tensor& x, KeyValueCache& cache);
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const AttentionMask& mask = {}) {
    return forward(query, key, value, mask);
  }
  Tensor operator()(const Tensor& x, const AttentionMask& mask = {}) { return forward(x, mask); }

  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter in_proj_weight, in_proj_bias;  ///< (3E, E), (3E): query, key, value
  Linear out_proj;                         ///< (E) to (E)

 private:
  AttentionOptions options_of(const AttentionMask& mask) const;
  Tensor joined(const Tensor& y);

  int64_t heads_;
  MultiHeadAttentionOptions options_;
};

}  // namespace gradus
