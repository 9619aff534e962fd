#pragma once
#include <cstdint>

namespace gradus::kernels {

/// What a search for the largest (or smallest) has found: the first of equals, or the first NaN.
template <class T>
struct Extremum {
  T value;
  int64_t index;
};

/// Rows of a column that are added up in T.
constexpr int64_t kSumRows = 64;

/// Reductions for one instruction-set level, on the calling thread.
template <class T>
struct ReduceKernels {
  /// The sum of x, added up in blocks, the blocks in f64.   x: (n)
  double (*sum)(int64_t n, const T* x);
  /// sum x^2, added up in f64.   x: (n)
  double (*sum_of_squares)(int64_t n, const T* x);
  /// Whether every element is finite.   x: (n)
  bool (*all_finite)(int64_t n, const T* x);
  /// y_j += sum_i x[i row + j], columns added up in blocks of rows, the blocks in f64.   y:
  /// (columns)
  void (*sum_columns)(int64_t rows, int64_t columns, const T* x, int64_t row, double* y);
  /// y_j = sum_i x[i row + j] of one block, at most kSumRows rows.   y: (columns)
  void (*sum_block)(int64_t rows, int64_t columns, const T* x, int64_t row, T* y);
  /// The largest element, and its place if it is wanted (else 0).   x: (n), n >= 1
  Extremum<T> (*max)(int64_t n, const T* x, bool with_index);
  Extremum<T> (*min)(int64_t n, const T* x, bool with_index);
  /// y_j = max_i x[i row + j], its place in index[j] unless that is null.   y, index: (columns)
  void (*max_columns)(int64_t rows, int64_t columns, const T* x, int64_t row, T* y, int64_t* index);
  void (*min_columns)(int64_t rows, int64_t columns, const T* x, int64_t row, T* y, int64_t* index);
};

}  // namespace gradus::kernels
