#pragma once
#include <gradus/kernels/attention/attention.h>

#include <cmath>
#include <cstdint>
#include <limits>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

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

}  // namespace gradus::kernels::naive
