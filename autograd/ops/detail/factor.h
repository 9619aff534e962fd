#pragma once
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/tensor/tensor.h>

#include <algorithm>

namespace gradus {

/// A tensor of at least 2 dimensions as gemm reads its last two axes: where it lies if one of them
/// has stride 1, which is then a row or, by the transposition flag, a column; else a copy.
class Factor {
 public:
  explicit Factor(const Tensor& x, bool transpose = false) : source_(&x), transposed_(transpose) {
    const int row = x.ndim() - 2, column = x.ndim() - 1;
    const int64_t rows = x.shape()[row], columns = x.shape()[column];
    if (x.is_contiguous()) {
      ld_ = std::max<int64_t>(1, columns);
      return;
    }
    const int64_t row_stride = x.strides()[row], column_stride = x.strides()[column];
    if ((column_stride == 1 || columns <= 1) && (row_stride >= columns || rows <= 1)) {
      ld_ = rows <= 1 ? columns : row_stride;
    } else if ((row_stride == 1 || rows <= 1) && (column_stride >= rows || columns <= 1)) {
      ld_ = columns <= 1 ? rows : column_stride;
      transposed_ = !transpose;
    } else {
      copy_ = raw::clone(x);
      source_ = &copy_;
      ld_ = columns;
    }
    ld_ = std::max<int64_t>(1, ld_);
  }
  Factor(const Factor&) = delete;
  Factor& operator=(const Factor&) = delete;

  const Tensor& tensor() const { return *source_; }
  kernels::Transpose transpose() const { return kernels::Transpose(transposed_); }
  int64_t ld() const { return ld_; }

 private:
  Tensor copy_;
  const Tensor* source_;
  bool transposed_;
  int64_t ld_;
};

/// C = op(A) op(B) + row, op(A) (m, k), op(B) (k, n), C (m, n) without gaps, row (n) or none. Of
/// several matrices the first.
template <class T>
kernels::GemmProblem<T> gemm_problem(const Factor& a, const Factor& b, int64_t m, int64_t n,
                                     int64_t k, const T* row, T* c) {
  return {a.transpose(),
          b.transpose(),
          m,
          n,
          k,
          T(1),
          a.tensor().strided_data<T>(),
          a.ld(),
          b.tensor().strided_data<T>(),
          b.ld(),
          T(row ? 1 : 0),
          c,
          std::max<int64_t>(1, n),
          row};
}

/// A shape with its leading axes as one: (rows, columns).
inline Shape matrix_shape(const Shape& shape) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape.ndim(); ++i) rows *= shape[i];
  return {rows, shape.back()};
}

}  // namespace gradus
