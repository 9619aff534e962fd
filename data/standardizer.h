#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus {

/// Makes each column's mean 0 and its variance 1, as in the data that it was fitted on
/// (scikit-learn's StandardScaler). Columns are the last axis. `mean` and `scale` are saved like
/// other tensors:
///
///   Checkpoint().add("model", model).add("mean", columns.mean).add("scale", columns.scale)
///
/// Recorded by no tape.
struct Standardizer {
  /// Of so many columns, which it leaves as they are until it is loaded.
  explicit Standardizer(int64_t columns);
  /// Of the training part's columns: mean and standard deviation (of N values, not N - 1; 1 of a
  /// column whose values are all equal). NaN, which stands for a missing value, does not count; a
  /// column of nothing else, and infinity, are errors.   x: (..., C) f32 or f64
  static Standardizer fit(const Tensor& x);

  /// (x - mean) / scale, in x's dtype; NaN stays.   x: (..., C) f32 or f64
  Tensor apply(const Tensor& x) const;
  /// x scale + mean: what apply() was given.
  Tensor invert(const Tensor& x) const;

  Tensor mean;   ///< (C) f64
  Tensor scale;  ///< (C) f64
};

}  // namespace gradus
