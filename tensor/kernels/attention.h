#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace gradus::kernels {

/// Matrices of two leading axes, `outer` and `inner` elements apart, with rows that are `row`
/// elements apart and have no gaps inside.
template <class T>
struct Matrices {
  T* data;
  int64_t outer, inner, row;
  T* at(int64_t i, int64_t j) const { return data + i * outer + j * inner; }
};

/// Added to the scores: element (i, j, query, key); `data` null: nothing.
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
  bool causal;          ///< query i looks at keys 0 .. i alone
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

namespace naive {

/// The definition of one attention; bias: (Tq, Tk) or null.
template <class X>
void attention(int64_t queries, int64_t keys, int64_t depth, int64_t value_depth, double scale,
               bool causal, const X* q, const X* k, const X* v, const X* bias, X* y) {
  using std::exp;
  for (int64_t i = 0; i < queries; ++i) {
    const auto score = [&](int64_t j) {
      X s = 0;
      for (int64_t d = 0; d < depth; ++d) s += q[i * depth + d] * k[j * depth + d];
      return X(scale * s + (bias ? bias[i * keys + j] : X(0)));
    };
    const int64_t visible = causal && i + 1 < keys ? i + 1 : keys;
    X largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < visible; ++j) largest = score(j) > largest ? score(j) : largest;
    for (int64_t d = 0; d < value_depth; ++d) y[i * value_depth + d] = 0;
    if (!(largest > -std::numeric_limits<double>::infinity())) continue;
    for (int64_t j = 0; j < visible; ++j) sum += exp(score(j) - largest);
    for (int64_t j = 0; j < visible; ++j) {
      const X p = exp(score(j) - largest) / sum;
      for (int64_t d = 0; d < value_depth; ++d)
        y[i * value_depth + d] += p * v[j * value_depth + d];
    }
  }
}

}  // namespace naive
}  // namespace gradus::kernels
