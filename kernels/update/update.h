#pragma once
#include <cmath>
#include <cstdint>

namespace gradus::kernels {

// One step of an optimizer over parameter p with gradient g in one pass, in the order of PyTorch's
// arithmetic. g is taken times grad_scale first, as clipping by a global norm needs.

struct SgdStep {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first = false;  ///< the buffer has no value yet: it becomes g
  double grad_scale = 1;
};

/// g += weight_decay p; buffer = momentum buffer + (1 - dampening) g; p -= lr buffer, with Nesterov
/// lr (g + momentum buffer). Without momentum, p -= lr g, and buffer may be null.
template <class T>
void sgd(int64_t n, const T* g, T* p, T* buffer, const SgdStep& step);

struct AdamStep {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  bool decoupled = false;                   ///< AdamW: p shrinks by 1 - lr weight_decay instead
  double correction1 = 1, correction2 = 1;  ///< 1 - beta^t
  double grad_scale = 1;
};

/// Kingma & Ba 2015, Loshchilov & Hutter 2019:  m = beta1 m + (1 - beta1) g;
/// v = beta2 v + (1 - beta2) g^2;  p -= lr / correction1 m / (sqrt(v) / sqrt(correction2) + eps).
template <class T>
void adam(int64_t n, const T* g, T* p, T* m, T* v, const AdamStep& step);

struct RmspropStep {
  double lr = 0, alpha = 0, eps = 0, weight_decay = 0, momentum = 0;
  double grad_scale = 1;
};

/// v = alpha v + (1 - alpha) g^2;  u = g / (sqrt(v) + eps);  p -= lr u. With a mean of g, which may
/// be null: mean = alpha mean + (1 - alpha) g, and v - mean^2 under the root (centered). With a
/// buffer, which may be null: buffer = momentum buffer + u, p -= lr buffer.
template <class T>
void rmsprop(int64_t n, const T* g, T* p, T* v, T* buffer, T* mean, const RmspropStep& step);

/// sum x^2, added up in f64 in an order that n alone fixes; for a norm over all gradients.
template <class T>
double sum_of_squares(int64_t n, const T* x);

}  // namespace gradus::kernels
