#pragma once
#include <gradus/autograd/ops/attention.h>
#include <gradus/layers/linear.h>

namespace gradus {

/// What MultiHeadAttention has beside its sizes.
struct MultiHeadAttentionOptions {
  bool bias = true;    ///< whether the four projections have one
  double dropout = 0;  ///< of the attention weights, in training
};

/// What a query may look at.
struct AttentionMask {
  Tensor valid = {};  ///< (N, Tk) bool: keys that are there; what stands elsewhere has no influence
  /// (Tq, Tk) or (N, heads, Tq, Tk): bool (true: may look) or added to the scores
  Tensor mask = {};
  bool causal = false;  ///< position i looks at 0 .. i
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

  int64_t heads_;
  MultiHeadAttentionOptions options_;
};

}  // namespace gradus
