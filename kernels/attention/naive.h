#pragma once
#include <gradus/kernels/attention/attention.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// The weights (Tq, Tk) of one attention, softmax(scale q k^T + bias) over the keys that a query
/// may look at, or 0 if there are none; bias: (Tq, Tk) or null.
template <class X>
void attention_weights(int64_t queries, int64_t keys, int64_t depth, double scale, bool causal,
                       const X* q, const X* k, const X* bias, X* p) {
  using std::exp;
  for (int64_t i = 0; i < queries; ++i, p += keys) {
    const int64_t visible = causal && i + 1 < keys ? i + 1 : keys;
    X largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < keys; ++j) {
      p[j] = 0;
      for (int64_t d = 0; d < depth; ++d) p[j] += q[i * depth + d] * k[j * depth + d];
      p[j] = scale * p[j] + (bias ? bias[i * keys + j] : X(0));
      if (j < visible && p[j] > largest) largest = p[j];
    }
    const bool none = !(largest > -std::numeric_limits<double>::infinity());
    for (int64_t j = 0; j < keys; ++j) {
      p[j] = none || j >= visible ? X(0) : X(exp(p[j] - largest));
      sum += p[j];
    }
    for (int64_t j = 0; j < keys && !none; ++j) p[j] /= sum;
  }
}

/// The definition of one attention.
template <class X>
void attention(int64_t queries, int64_t keys, int64_t depth, int64_t value_depth, double scale,
               bool causal, const X* q, const X* k, const X* v, const X* bias, X* y) {
  std::vector<X> p(static_cast<size_t>(queries * keys));
  attention_weights(queries, keys, depth, scale, causal, q, k, bias, p.data());
  for (int64_t n = 0; n < queries * value_depth; ++n) {
    y[n] = 0;
    for (int64_t j = 0; j < keys; ++j)
      y[n] += p[size_t(n / value_depth * keys + j)] * v[j * value_depth + n % value_depth];
  }
}

/// dq, dk, dv of one attention. With y = p v, p = softmax(s), s = scale q k^T + bias:
///   dv_j = sum_i p_ij dy_i,  dp_ij = dy_i v_j,  ds_ij = p_ij (dp_ij - sum_l p_il dp_il),
///   dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i
template <class X>
void attention_backward(int64_t queries, int64_t keys, int64_t depth, int64_t value_depth,
                        double scale, bool causal, const X* q, const X* k, const X* v,
                        const X* bias, const X* dy, X* dq, X* dk, X* dv) {
  std::vector<X> weights(static_cast<size_t>(queries * keys)), dp(static_cast<size_t>(keys));
  attention_weights(queries, keys, depth, scale, causal, q, k, bias, weights.data());
  std::fill_n(dq, queries * depth, X(0));
  std::fill_n(dk, keys * depth, X(0));
  std::fill_n(dv, keys * value_depth, X(0));
  for (int64_t i = 0; i < queries; ++i, q += depth, dq += depth, dy += value_depth) {
    const X* p = weights.data() + i * keys;
    X mean = 0;
    for (int64_t j = 0; j < keys; ++j) {
      dp[size_t(j)] = 0;
      for (int64_t d = 0; d < value_depth; ++d) {
        dv[j * value_depth + d] += p[j] * dy[d];
        dp[size_t(j)] += dy[d] * v[j * value_depth + d];
      }
      mean += p[j] * dp[size_t(j)];
    }
    for (int64_t j = 0; j < keys; ++j)
      for (int64_t d = 0; d < depth; ++d) {
        const X ds = p[j] * (dp[size_t(j)] - mean);
        dq[d] += scale * ds * k[j * depth + d];
        dk[j * depth + d] += scale * ds * q[d];
      }
  }
}

}  // namespace gradus::kernels::naive
