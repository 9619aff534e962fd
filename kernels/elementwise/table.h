#pragma once
#include <gradus/kernels/elementwise/functors.h>

#include <cstdint>

namespace gradus::kernels {

/// Rows of a result that is contiguous, and how two operands run along them: along a row each moves
/// by one element or stays (column stride 1 or 0), from row to row by any stride.
struct BinaryRows {
  int64_t rows, columns;
  int64_t a_row, a_column, b_row, b_column;
};

/// The elementwise loops for one instruction-set level, on the calling thread. `function` points to
/// the functor that the entry stands for.
template <class T>
struct ElementwiseKernels {
  using Unary = void (*)(const void* function, int64_t n, const T* x, T* y);
  using UnaryBackward = void (*)(const void* function, int64_t n, const T* dy, const T* kept,
                                 T* dx);
  using Binary = void (*)(const BinaryRows& rows, const T* a, const T* b, T* y);

  Unary unary[functions::Unary::size];
  UnaryBackward unary_backward[functions::Unary::size];
  Binary binary[functions::Binary::size];
  /// y += x
  void (*accumulate)(int64_t n, const T* x, T* y);
  /// y *= x
  void (*multiply)(int64_t n, const T* x, T* y);
  /// x *= alpha
  void (*scale)(int64_t n, T alpha, T* x);
  /// to[p to_row + j] = from[j from_row + p] for j < rows, p < columns
  void (*transpose)(const T* from, int64_t from_row, int64_t rows, int64_t columns, T* to,
                    int64_t to_row);
};

}  // namespace gradus::kernels
