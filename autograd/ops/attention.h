#pragma once
#include <gradus/autograd/tape.h>

#include <optional>

namespace gradus {

/// Who may look at whom, and how the scores are weighed.
struct AttentionOptions {
  // Where a mask hides a key from a query, what that key and its value hold, NaN included, has no
  // influence on the query's result, nor the query on their gradients.

  /// Broadcasts to (..., Tq, Tk): bool (true: may look) or of q's dtype (added to the
  /// scores, with a gradient; -inf: may not look).
  Tensor mask = {};
  /// (N, Tk) bool for q of (N, ..., Tq, D): keys that are there.
  Tensor key_padding = {};
  /// Position i looks at keys 0 .. i.
  bool causal = false;
  std::optional<double> scale = {};  ///< of the scores; default 1 / sqrt(D)
  double dropout = 0;                ///< of the weights, which are then stored: (..., Tq, Tk)
};

/// softmax(scale q k^T + mask) v  (Vaswani et al. 2017, equation 1). A query that may look at
/// nothing gets 0.  q: (..., Tq, D)   k: (..., Tk, D)   v: (..., Tk, Dv)   y: (..., Tq, Dv)
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {});

/// The same for a sequence over itself, by several heads: each position of qkv (N, T, 3 E) holds q,
/// k and v, each of `heads` parts; all are taken as 0 where key_padding says that nothing is there.
/// The mask broadcasts to (N, heads, T, T).   y: (N, T, E)
Tensor self_attention(const Tensor& qkv, int64_t heads, const AttentionOptions& options = {});

}  // namespace gradus
