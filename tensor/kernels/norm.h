#pragma once
#include <cmath>
#include <cstdint>

namespace gradus::kernels {

// Any of w (taken as 1), b (as 0), `valid` (as true) and of the results may be null. Where `valid`
// is false, what inputs hold, NaN included, has no influence, and results are 0.
// Statistics are taken of blocks about the block's own mean and put together in f64 (Chan et al.
// 1979); what comes of it is the same for any number of threads.

/// y = (x - mean) rstd w + b, rstd = 1 / sqrt(var + eps), each row by itself (Ba et al. 2016).
/// x, y: (rows, d)   valid, mean, rstd: (rows)   w, b: (d)
template <class T>
void layer_norm(int64_t rows, int64_t d, double eps, const T* x, const bool* valid, const T* w,
                const T* b, T* y, T* mean, T* rstd);

/// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = w dy, dw = sum dy xhat, db = sum dy.
template <class T>
void layer_norm_backward(int64_t rows, int64_t d, const T* x, const bool* valid, const T* mean,
                         const T* rstd, const T* w, const T* dy, T* dx, T* dw, T* db);

/// x is (outer, channels, inner): inner = 1 for (N, C) and channels last. A mask is (outer, inner).
struct Channels {
  int64_t outer, channels, inner;
};

/// rstd = 1 / sqrt(var + eps).
template <class T>
void batch_norm_rstd(int64_t channels, double eps, const T* var, T* rstd);

/// y = (x - mean) rstd w + b.
template <class T>
void batch_norm_normalize(const Channels& shape, const T* x, const bool* valid, const T* mean,
                          const T* rstd, const T* w, const T* b, T* y);

/// The same from x's own statistics (Ioffe & Szegedy 2015, algorithm 1): each channel's mean,
/// biased variance and rstd; without values 0, 0 and 1 / sqrt(eps). x is read once where a channel
/// fits in the cache. With relu, max(y, 0) for y. mean, var and rstd may not be null. Returns how
/// many valid values a channel has.
template <class T>
int64_t batch_norm(const Channels& shape, double eps, const T* x, const bool* valid, const T* w,
                   const T* b, bool relu, T* y, T* mean, T* var, T* rstd);

/// Training, mean and rstd being of x itself: dw = sum dy xhat, db = sum dy, xhat = (x - mean)
/// rstd; dx = w rstd (dy - db / count - xhat dw / count). With relu, 0 for dy where xhat w + b <=
/// 0; without, b is not read.
template <class T>
void batch_norm_backward(const Channels& shape, const T* x, const bool* valid, const T* mean,
                         const T* rstd, const T* w, const T* b, bool relu, const T* dy, T* dx,
                         T* dw, T* db);

/// Evaluation, where mean and rstd are constants: dx = w rstd dy, dw and db as above.
template <class T>
void batch_norm_backward_eval(const Channels& shape, const T* x, const bool* valid, const T* mean,
                              const T* rstd, const T* w, const T* dy, T* dx, T* dw, T* db);

namespace naive {

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

}  // namespace naive
}  // namespace gradus::kernels
