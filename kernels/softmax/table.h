#pragma once
#include <cstdint>

namespace gradus::kernels {

/// Softmax and what is made of it for one instruction-set level, on the calling thread.
/// x, y, dy, dx: (rows, d). `streamed`: whether y or dx may be.
template <class T>
struct SoftmaxKernels {
  /// y = scale softmax(x), a scale for each row, or 1 for a null.
  void (*softmax)(int64_t rows, int64_t d, const T* scale, const T* x, T* y, bool streamed);
  void (*log_softmax)(int64_t rows, int64_t d, const T* x, T* y);
  /// log sum exp(x) = shift + log_sum, where shift is the row's maximum, or 0 if that is infinite.
  void (*log_sums)(int64_t rows, int64_t d, const T* x, T* shift, T* log_sum);
  /// dx may not be dy.
  void (*softmax_backward)(int64_t rows, int64_t d, const T* y, const T* dy, T* dx, bool streamed);
  void (*log_softmax_backward)(int64_t rows, int64_t d, const T* y, const T* dy, T* dx);
  /// sum w (x - shift) over one row, w = 1 for a null.
  double (*weighted_sum)(int64_t d, T shift, const T* w, const T* x);
  /// dx -= scale w in one row.
  void (*subtract)(int64_t d, T scale, const T* w, T* dx);
  /// sum x over one row.
  double (*sum)(int64_t d, const T* x);
};

}  // namespace gradus::kernels
