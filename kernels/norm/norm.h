#pragma once
#include <cstdint>

namespace gradus::kernels {

// Statistics are taken of blocks about the block's own mean and put together in f64 (Chan et al.
// 1979); what comes of it is the same for any number of threads. A row or a channel that f32 does
// not carry through is computed in double (in_double.h), the backward pass, as that of few values,
// from x and eps again.

/// What a norm is of: y = xhat w + b, or max(y, 0) with relu, where xhat = (x - mean) rstd and
/// rstd = 1 / sqrt(var + eps). Where `valid` is false, what inputs hold, NaN included, has no
/// influence, and results are 0. A null w is 1, b 0, and `valid` true.
template <class T>
struct NormInput {
  const T* x;
  const bool* valid = nullptr;
  const T* w = nullptr;
  const T* b = nullptr;
  bool relu = false;
};

/// Where gradients go; null: not wanted.
template <class T>
struct NormGradients {
  T *dx, *dw, *db;
};

/// Rows of d values, `groups` of them a sample. In a row `inner` neighbouring values share a weight
/// and a bias, and so do the samples.
struct NormRows {
  int64_t samples, groups, d, inner = 1;
  bool centred = true;  ///< otherwise mean is 0, and var the mean square (Zhang & Sennrich 2019)

  int64_t weights() const { return groups * (d / inner); }
};

/// Each row by itself: with one group Layer Normalization (Ba et al. 2016), with weights of
/// channels Group Normalization (Wu & He 2018). mean and rstd may be null.
/// x, y: (samples, groups, d)   valid: (samples)   mean, rstd: (samples, groups)   w, b: (weights)
template <class T>
void row_norm(const NormRows& shape, double eps, const NormInput<T>& in, T* y, T* mean, T* rstd);

/// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = w dy, dw = sum dy xhat, db = sum dy; where
/// rows are not centred, 0 stands for mean(g), and mean may be null. With relu, 0 for dy where xhat
/// w + b <= 0; dx may not be null then, since what passes is written there first.
template <class T>
void row_norm_backward(const NormRows& shape, double eps, const NormInput<T>& in, const T* mean,
                       const T* rstd, const T* dy, const NormGradients<T>& to);

/// x is (outer, channels, inner): inner = 1 for (N, C) and channels last. A mask is (outer, inner).
struct Channels {
  int64_t outer, channels, inner;
};

/// rstd = 1 / sqrt(var + eps).
template <class T>
void batch_norm_rstd(int64_t channels, double eps, const T* var, T* rstd);

/// How many valid values a channel has; `valid` may be null.
int64_t count_valid(const Channels& shape, const bool* valid);

/// y by a mean and rstd that are given.
template <class T>
void batch_norm_normalize(const Channels& shape, const NormInput<T>& in, const T* mean,
                          const T* rstd, T* y);

/// The same by x's own (Ioffe & Szegedy 2015, algorithm 1): each channel's mean, biased variance
/// and rstd; without values 0, 0 and 1 / sqrt(eps). x is read once where a channel fits in the
/// cache.
template <class T>
void batch_norm(const Channels& shape, double eps, const NormInput<T>& in, T* y, T* mean, T* var,
                T* rstd);

/// Training, mean and rstd being of x itself: dw = sum dy xhat, db = sum dy, dx = w rstd (dy - db /
/// count - xhat dw / count). With relu, 0 for dy where xhat w + b <= 0.
template <class T>
void batch_norm_backward(const Channels& shape, double eps, const NormInput<T>& in, const T* mean,
                         const T* rstd, const T* dy, const NormGradients<T>& to);

/// Evaluation, where mean and rstd are constants: dx = w rstd dy, dw and db as above. in.relu is
/// not read: dy is what passed it.
template <class T>
void batch_norm_backward_eval(const Channels& shape, const NormInput<T>& in, const T* mean,
                              const T* rstd, const T* dy, const NormGradients<T>& to);

}  // namespace gradus::kernels
