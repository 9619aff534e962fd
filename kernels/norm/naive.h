#pragma once
#include <gradus/kernels/norm/norm.h>

#include <cmath>
#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

template <class X>
void layer_norm(int64_t rows, int64_t d, double eps, const X* x, const bool* valid, const X* w,
                const X* b, X* y) {
  using std::sqrt;
  for (int64_t i = 0; i < rows; ++i, x += d, y += d) {
    X mean = 0, var = 0;
    const bool use = !valid || valid[i];
    for (int64_t j = 0; j < d && use; ++j) mean += x[j] / X(d);
    for (int64_t j = 0; j < d && use; ++j) var += (x[j] - mean) * (x[j] - mean) / X(d);
    for (int64_t j = 0; j < d; ++j)
      y[j] = use ? (x[j] - mean) / sqrt(var + eps) * (w ? w[j] : X(1)) + (b ? b[j] : X(0)) : X(0);
  }
}

template <class X>
void layer_norm_backward(int64_t rows, int64_t d, double eps, const X* x, const bool* valid,
                         const X* w, const X* dy, X* dx, X* dw, X* db) {
  using std::sqrt;
  for (int64_t j = 0; j < d; ++j) dw[j] = db[j] = 0;
  for (int64_t i = 0; i < rows; ++i, x += d, dy += d, dx += d) {
    for (int64_t j = 0; j < d; ++j) dx[j] = 0;
    if (valid && !valid[i]) continue;
    X mean = 0, var = 0, mean_g = 0, mean_gx = 0;
    for (int64_t j = 0; j < d; ++j) mean += x[j] / X(d);
    for (int64_t j = 0; j < d; ++j) var += (x[j] - mean) * (x[j] - mean) / X(d);
    const X r = 1 / sqrt(var + eps);
    const auto g = [&](int64_t j) { return w ? w[j] * dy[j] : dy[j]; };
    for (int64_t j = 0; j < d; ++j) mean_g += g(j) / X(d);
    for (int64_t j = 0; j < d; ++j) mean_gx += g(j) * (x[j] - mean) * r / X(d);
    for (int64_t j = 0; j < d; ++j) {
      dx[j] = r * (g(j) - mean_g - (x[j] - mean) * r * mean_gx);
      dw[j] += dy[j] * (x[j] - mean) * r;
      db[j] += dy[j];
    }
  }
}

/// Calls f(place in x) for each valid element of a channel.
template <class F>
void for_channel(const Channels& s, int64_t c, const bool* valid, F f) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i)
      if (!valid || valid[o * s.inner + i]) f((o * s.channels + c) * s.inner + i);
}

template <class X>
int64_t batch_norm_stats(const Channels& s, const X* x, const bool* valid, X* mean, X* var) {
  int64_t count = 0;
  for_channel({s.outer, 1, s.inner}, 0, valid, [&](int64_t) { ++count; });
  for (int64_t c = 0; c < s.channels; ++c) {
    X sum = 0, squares = 0;
    for_channel(s, c, valid, [&](int64_t k) { sum += x[k]; });
    mean[c] = count ? X(sum / X(count)) : X(0);
    for_channel(s, c, valid, [&](int64_t k) { squares += (x[k] - mean[c]) * (x[k] - mean[c]); });
    var[c] = count ? X(squares / X(count)) : X(0);
  }
  return count;
}

template <class X>
void batch_norm_normalize(const Channels& s, double eps, const X* x, const bool* valid,
                          const X* mean, const X* var, const X* w, const X* b, X* y) {
  using std::sqrt;
  for (int64_t k = 0; k < s.outer * s.channels * s.inner; ++k) y[k] = 0;
  for (int64_t c = 0; c < s.channels; ++c)
    for_channel(s, c, valid, [&](int64_t k) {
      y[k] = (x[k] - mean[c]) / sqrt(var[c] + eps) * (w ? w[c] : X(1)) + (b ? b[c] : X(0));
    });
}

/// Training's gradient, or evaluation's.
template <class X>
void batch_norm_backward(const Channels& s, double eps, bool training, const X* x,
                         const bool* valid, const X* mean, const X* var, const X* w, const X* dy,
                         X* dx, X* dw, X* db) {
  using std::sqrt;
  for (int64_t k = 0; k < s.outer * s.channels * s.inner; ++k) dx[k] = 0;
  for (int64_t c = 0; c < s.channels; ++c) {
    const X r = 1 / sqrt(var[c] + eps), scale = w ? X(w[c] * r) : r;
    int64_t count = 0;
    dw[c] = db[c] = 0;
    for_channel(s, c, valid, [&](int64_t k) {
      dw[c] += dy[k] * (x[k] - mean[c]) * r;
      db[c] += dy[k];
      ++count;
    });
    for_channel(s, c, valid, [&](int64_t k) {
      dx[k] = scale * dy[k];
      if (training) dx[k] -= scale * (db[c] + (x[k] - mean[c]) * r * dw[c]) / X(count);
    });
  }
}

}  // namespace gradus::kernels::naive
