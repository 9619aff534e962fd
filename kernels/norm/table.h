#pragma once
#include <gradus/kernels/norm/norm.h>

#include <cstdint>

namespace gradus::kernels {

/// How many numbers, their mean, and the sum of their squared deviations from it.
struct Moments {
  double count = 0, mean = 0, squares = 0;
};

/// Chan, Golub & LeVeque 1979: the moments of two sets together.
static inline Moments merged(const Moments& a, const Moments& b) {
  const double count = a.count + b.count;
  if (count == 0) return {};
  const double delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

/// sum dy and sum dy (x - mean).
struct GradientSums {
  double dy = 0, dy_x = 0;
};

/// One channel's elements, or some of them: `rows` runs of `columns` elements that begin `stride`
/// apart. A mask of them begins `valid_stride` apart.
struct Runs {
  int64_t rows, columns, stride, valid_stride;
};

/// What normalization does to x: y = (x - mean) scale + shift, or max(y, 0), where y's gradient
/// passes above 0 alone.
template <class T>
struct Affine {
  T mean, scale, shift;
  bool relu = false;
};

/// What training's gradient does to the dy that passes: dx = scale (dy - mean_dy - (x - mean)
/// slope).
template <class T>
struct GradientAffine {
  Affine<T> y;
  T mean_dy, slope;
};

/// One row of d elements in each of samples begin .. end - 1, which have `groups` rows: pointers to
/// x, y, mean and rstd are to that row of sample 0, those to weights to that row's.
struct Rows {
  int64_t begin, end, d, groups = 1, inner = 1;
  bool centred = true;
};

/// Where dw and db (d / inner) of rows go, null: not wanted; `block` (2, d): memory for those of
/// some rows.
template <class T>
struct RowSums {
  double *dw, *db;
  T* block;
};

/// Normalization for one instruction-set level, on the calling thread. `valid` may be null; where
/// it is false what x and dy hold has no influence and results are 0. `streamed`: whether y or dx
/// may be.
template <class T>
struct NormKernels {
  Moments (*moments)(const Runs& r, const T* x, const bool* valid);
  void (*normalize)(const Runs& r, const Affine<T>& f, const T* x, const bool* valid, T* y,
                    bool streamed);
  GradientSums (*gradient_sums)(const Runs& r, const Affine<T>& f, const T* x, const bool* valid,
                                const T* dy);
  void (*gradient)(const Runs& r, const GradientAffine<T>& f, const T* x, const bool* valid,
                   const T* dy, T* dx, bool streamed);
  /// rstd = 1 / sqrt(var + eps).
  void (*rstd)(int64_t n, double eps, const T* var, T* rstd);
  /// Whether T carries all of n channels (in_double.h) with their means rounded.
  bool (*all_near)(int64_t n, T eps, const T* mean, const T* rstd);
  /// Whether it carries their weights, and their gradients with these sums; false where that takes
  /// more than these to tell. w, dw with db: may be null.
  bool (*all_ordinary)(int64_t n, const T* rstd, const T* w, const T* dw, const T* db);

  /// As kernels::row_norm, of some of the rows. `spread` (2, d): memory for weights that elements
  /// share.
  void (*row_norm)(const Rows& r, double eps, const NormInput<T>& in, T* spread, T* y, T* mean,
                   T* rstd, bool streamed);
  /// As kernels::row_norm_backward, but adds to the sums over rows. `centred` (d): memory.
  void (*row_norm_backward)(const Rows& r, double eps, const NormInput<T>& in, T* spread,
                            T* centred, const T* mean, const T* rstd, const T* dy, T* dx,
                            const RowSums<T>& sums, bool streamed);
};

/// Affine for each column; mean, scale, shift: (columns).
template <class T>
struct ColumnAffine {
  const T *mean, *scale, *shift;
  bool relu = false;
};

/// The same for a channel in each column; `valid` has an element for each row.
/// x, y, dy, dx: (rows, columns)   mean_dy, slope, ...: (columns)
template <class T>
struct ColumnNormKernels {
  /// Returns how many rows are valid.
  int64_t (*moments)(int64_t rows, int64_t columns, const T* x, const bool* valid, double* mean,
                     double* squares);
  /// The moments of `count` and `other_count` rows, put together in mean and squares.
  void (*merge)(int64_t columns, int64_t count, double* mean, double* squares, int64_t other_count,
                const double* other_mean, const double* other_squares);
  void (*normalize)(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* x,
                    const bool* valid, T* y);
  /// Adds to dy_sum and dy_x_sum.
  void (*gradient_sums)(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* x,
                        const bool* valid, const T* dy, double* dy_sum, double* dy_x_sum);
  void (*gradient)(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* mean_dy,
                   const T* slope, const T* x, const bool* valid, const T* dy, T* dx);
};

}  // namespace gradus::kernels
