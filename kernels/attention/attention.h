#pragma once
#include <cstdint>

namespace gradus::kernels {

/// Matrices of two leading axes, `outer` and `inner` elements apart, with rows that are `row`
/// elements apart and have no gaps inside.
template <class T>
struct Matrices {
  T* data;
  int64_t outer, inner, row;
  T* at(int64_t i, int64_t j) const { return data + i * outer + j * inner; }
};

/// Added to the scores: element (i, j, query, key); `data` null: nothing. Where it is -inf the
/// query may not look at the key: whatever both hold, neither has an influence on the other's
/// results.
template <class T>
struct ScoreBias {
  const T* data;
  int64_t outer, inner, query, key;
};

/// outer x inner attentions of their own: y = softmax(scale q k^T + bias) v
template <class T>
struct AttentionProblem {
  int64_t outer, inner;                       ///< sequences and heads
  int64_t queries, keys, depth, value_depth;  ///< Tq, Tk, D, Dv
  T scale;
  bool causal;          ///< query i looks at keys 0 .. i alone, likewise
  Matrices<const T> q;  ///< (Tq, D)
  Matrices<const T> k;  ///< (Tk, D)
  Matrices<const T> v;  ///< (Tk, Dv)
  ScoreBias<T> bias;    ///< (Tq, Tk)
};

/// y: (Tq, Dv), 0 for a query that may look at nothing. Some queries at a time go against all keys
/// they may look at, so that (Tq, Tk) is never stored.
template <class T>
void attention(const AttentionProblem<T>& problem, const Matrices<T>& y);

/// dq, dk, dv from dy, the weights computed once more (docs/derivations/attention.md). A null dq or
/// dv is not wanted; dk is if dq is.
template <class T>
void attention_backward(const AttentionProblem<T>& problem, const Matrices<const T>& dy,
                        const Matrices<T>& dq, const Matrices<T>& dk, const Matrices<T>& dv);

}  // namespace gradus::kernels
