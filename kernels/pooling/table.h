#pragma once
#include <cstdint>

namespace gradus::kernels {

/// Neighbouring windows of max pooling that lie inside an image's columns: tap (p, q) of window j
/// is x[p * row + q + j * stride], counted `first` + the same within its plane. stride is 1 or 2.
/// `readable` elements of x may be read and `room` results written, anything where there is no
/// window.
template <class T>
struct MaxWindows {
  int64_t windows, rows, columns, row, stride, first;
  const T* x;
  int64_t readable, room;
};

template <class T>
struct PoolKernels {
  /// y[j] = the largest of window j, a NaN being larger than all; indices[j] = where it is counted,
  /// the first of equals (with NaNs: the last).
  void (*max_windows)(const MaxWindows<T>& w, T* y, int64_t* indices);
};

}  // namespace gradus::kernels
