#pragma once
#include <gradus/kernels/softmax/softmax.h>

#include <cmath>
#include <cstdint>
#include <limits>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

template <class X>
X logsumexp(int64_t d, const X* x) {
  using std::exp, std::log;
  X largest = x[0], sum = 0;
  for (int64_t j = 1; j < d; ++j) largest = x[j] > largest ? x[j] : largest;
  if (largest == -std::numeric_limits<double>::infinity()) return largest;
  for (int64_t j = 0; j < d; ++j) sum += exp(x[j] - largest);
  return largest + log(sum);
}

template <class X>
void log_softmax(int64_t rows, int64_t d, const X* x, X* y) {
  for (int64_t i = 0; i < rows; ++i) {
    const X total = logsumexp(d, x + i * d);
    for (int64_t j = 0; j < d; ++j) y[i * d + j] = x[i * d + j] - total;
  }
}

template <class X>
void softmax(int64_t rows, int64_t d, const X* x, X* y) {
  using std::exp;
  log_softmax(rows, d, x, y);
  for (int64_t k = 0; k < rows * d; ++k) y[k] = exp(y[k]);
}

template <class X>
void softmax_backward(int64_t rows, int64_t d, const X* y, const X* dy, X* dx) {
  for (int64_t i = 0; i < rows; ++i, y += d, dy += d, dx += d) {
    X sum = 0;
    for (int64_t j = 0; j < d; ++j) sum += dy[j] * y[j];
    for (int64_t j = 0; j < d; ++j) dx[j] = y[j] * (dy[j] - sum);
  }
}

template <class X>
void log_softmax_backward(int64_t rows, int64_t d, const X* y, const X* dy, X* dx) {
  using std::exp;
  for (int64_t i = 0; i < rows; ++i, y += d, dy += d, dx += d) {
    X sum = 0;
    for (int64_t j = 0; j < d; ++j) sum += dy[j];
    for (int64_t j = 0; j < d; ++j) dx[j] = dy[j] - exp(y[j]) * sum;
  }
}

/// How much -log p_c counts in the loss of a row whose label is t.
template <class X>
X target_weight(int64_t c, int64_t t, int64_t classes, const X* w,
                const CrossEntropyOptions& options) {
  if (t == options.ignore_index) return X(0);
  const double s = options.label_smoothing, target = (c == t ? 1 - s : 0) + s / double(classes);
  return target * (w ? w[c] : X(1));
}

/// The loss of each row; returns the total weight.
template <class X>
X cross_entropy(int64_t rows, int64_t classes, const X* x, const int64_t* labels, const X* w,
                const CrossEntropyOptions& options, X* loss) {
  X total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = labels[i];
    loss[i] = 0;
    if (t == options.ignore_index) continue;
    total += w ? w[t] : X(1);
    const X log_sum = logsumexp(classes, x + i * classes);
    for (int64_t c = 0; c < classes; ++c) {
      const X q = target_weight(c, t, classes, w, options);
      if (q != 0) loss[i] -= q * (x[i * classes + c] - log_sum);
    }
  }
  return total;
}

/// The gradient of sum_i g_i l_i: that of -log p_a with respect to x_c is p_c - [a = c].
template <class X>
void cross_entropy_backward(int64_t rows, int64_t classes, const X* x, const int64_t* labels,
                            const X* w, const CrossEntropyOptions& options, const X* g, X* dx) {
  using std::exp;
  for (int64_t i = 0; i < rows; ++i, x += classes, dx += classes) {
    const X log_sum = logsumexp(classes, x);
    for (int64_t c = 0; c < classes; ++c) {
      const X p = exp(x[c] - log_sum);
      dx[c] = 0;
      for (int64_t a = 0; a < classes; ++a)
        dx[c] += g[i] * target_weight(a, labels[i], classes, w, options) * (p - (a == c ? 1 : 0));
    }
  }
}

template <class X>
void softmax_share(int64_t rows, int64_t classes, const int64_t* labels, const X* w,
                   const CrossEntropyOptions& options, double divisor, X* a) {
  for (int64_t i = 0; i < rows; ++i) {
    a[i] = 0;
    for (int64_t c = 0; c < classes; ++c)
      a[i] += target_weight(c, labels[i], classes, w, options) / divisor;
  }
}

}  // namespace gradus::kernels::naive
