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

}  // namespace gradus::kernels
