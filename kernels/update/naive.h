#pragma once
#include <gradus/kernels/update/update.h>

#include <cmath>
#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

template <class X>
void sgd(int64_t n, const X* g, X* p, X* buffer, const SgdStep& s) {
  for (int64_t i = 0; i < n; ++i) {
    X d = g[i] * s.grad_scale + p[i] * s.weight_decay;
    if (s.momentum != 0) {
      buffer[i] = s.first ? d : X(buffer[i] * s.momentum + d * (1 - s.dampening));
      d = s.nesterov ? X(d + buffer[i] * s.momentum) : buffer[i];
    }
    p[i] -= d * s.lr;
  }
}

template <class X>
void adam(int64_t n, const X* g, X* p, X* m, X* v, const AdamStep& s) {
  using std::sqrt;
  for (int64_t i = 0; i < n; ++i) {
    X d = g[i] * s.grad_scale;
    if (s.decoupled) p[i] -= p[i] * s.lr * s.weight_decay;
    if (!s.decoupled) d += p[i] * s.weight_decay;
    m[i] = m[i] * s.beta1 + d * (1 - s.beta1);
    v[i] = v[i] * s.beta2 + d * d * (1 - s.beta2);
    p[i] -= s.lr * (m[i] / s.correction1) / (sqrt(v[i] / s.correction2) + s.eps);
  }
}

template <class X>
void rmsprop(int64_t n, const X* g, X* p, X* v, X* buffer, X* mean, const RmspropStep& s) {
  using std::sqrt;
  for (int64_t i = 0; i < n; ++i) {
    const X d = g[i] * s.grad_scale + p[i] * s.weight_decay;
    v[i] = v[i] * s.alpha + d * d * (1 - s.alpha);
    if (mean) mean[i] = mean[i] * s.alpha + d * (1 - s.alpha);
    const X u = d / (sqrt(mean ? X(v[i] - mean[i] * mean[i]) : v[i]) + s.eps);
    if (buffer) buffer[i] = buffer[i] * s.momentum + u;
    p[i] -= (buffer ? buffer[i] : u) * s.lr;
  }
}

template <class X>
X sum_of_squares(int64_t n, const X* x) {
  X total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i] * x[i];
  return total;
}

}  // namespace gradus::kernels::naive
