#pragma once
#include <gradus/kernels/norm/table.h>

#include <cstdint>
#include <type_traits>

// The slow way for a row or a channel whose numbers f32 does not carry through: whose sums or
// squares overflow or vanish, or whose mean is so far from 0 that to round it moves every element.
// All of it is computed in double, the statistics from x again; of f64 in long double, where sums
// or squares overflow or vanish.
namespace gradus::kernels {

template <class T>
using Wide = std::conditional_t<sizeof(T) == sizeof(float), double, long double>;

// The following are asked of every row and channel: in T, and without a branch. None holds of NaN.
// Of f64 they tell whether squares and products stay within its range.

template <class T>
static inline T magnitude(T v) {
  if constexpr (sizeof(T) == sizeof(float)) return __builtin_fabsf(v);
  return v < 0 ? -v : v;
}

/// The largest standard deviation, and one over the smallest, whose square is not near the ends of
/// T.
template <class T>
constexpr T kMostSpread = sizeof(T) == sizeof(float) ? T(0x1p40) : T(0x1p400);
/// Standard deviations that a mean may be away from 0 for a norm. Rounded to f32 it is off by 2^-24
/// of itself, so by at most 2^-21 of one.
constexpr double kNormReach = 8;
/// The same where what rounding leaves of the mean is subtracted, too.
constexpr double kNormReachInTwo = 0x1p14;

/// Whether a mean, rounded to T, lies within `reach` standard deviations of 0, where that matters.
template <class T>
static inline bool is_within_reach(T mean, T var, T reach) {
  if constexpr (sizeof(T) == sizeof(double)) return magnitude(mean) <= T(0x1p1000);
  return bool((mean == 0) | (mean * mean <= reach * reach * var));
}

/// Whether T carries deviations from this mean, and their squares.
template <class T>
static inline bool carries_deviations(T mean, T var, T reach) {
  constexpr T most = kMostSpread<T> * kMostSpread<T>;
  return bool((var >= 1 / most) & (var <= most)) && is_within_reach(mean, var, reach);
}

/// The same for a norm, by what its gradient keeps.
template <class T>
static inline bool is_ordinary(T mean, T rstd, T eps, double reach = kNormReachInTwo) {
  constexpr T most = kMostSpread<T>;
  // Both divided by var + eps, without what rounding rstd may have added to var.
  const T ratio = mean * rstd, share = T(1 - 0x1p-20) - eps * (rstd * rstd);
  return bool((rstd >= 1 / most) & (rstd <= most) &
              is_within_reach(sizeof(T) == sizeof(double) ? mean : ratio, share, T(reach)));
}

/// Whether T also carries it with the mean rounded.
template <class T>
static inline bool is_near(T mean, T rstd, T eps) {
  return is_ordinary(mean, rstd, eps, kNormReach);
}

/// Groups of so many values have gradients whose terms mostly cancel: f32's are computed in f64.
constexpr int64_t kFewValues = 8;

/// Of a gradient r = g - mean(g) - xhat mean(g xhat), where its terms may cancel: how large one of
/// |r| has to be, so that what rounding adds to the terms is small beside it. Terms are off by some
/// 2^-22 of themselves, xhat by what a mean that is rounded adds; `ratio`: that mean's, by its
/// spread, or 0.
template <class T>
static inline T least_of_gradient(T mean_g, T mean_gx, T most_xhat, T ratio) {
  const T g = magnitude(mean_g), gx = magnitude(mean_gx);
  return (g + most_xhat * gx) * T(0x1p-6) + magnitude(ratio) / 8 * (most_xhat * g + gx);
}

/// Whether one of n sizes is not below `least`.
template <class T, class Size>
static inline bool reaches(int64_t n, T least, Size size) {
  for (int64_t j = 0; j < n; ++j)
    if (size(j) >= least) return true;
  return false;
}
/// So many are looked at first, with the square root of the group's size for its largest xhat,
/// which none exceeds.
constexpr int64_t kGlance = 8;

/// Whether T carries y = (x - mean) scale for every x; w is the weight in scale.
template <class T>
static inline bool is_ordinary_map(T mean, T scale, T w) {
  constexpr T far = sizeof(T) == sizeof(float) ? T(0x1p100) : T(0x1p1000),
              steep = sizeof(T) == sizeof(float) ? T(0x1p60) : T(0x1p400);
  const T s = magnitude(scale);
  return bool((magnitude(mean) <= far) & ((w == 0) | ((s >= 1 / steep) & (s <= steep))));
}

/// Whether a weight is a number of which T may not carry products with xhat.
template <class T>
static inline bool is_steep(T w) {
  const T size = magnitude(w);
  return bool((size >= (sizeof(T) == sizeof(float) ? T(0x1p100) : T(0x1p1000))) &
              (size - size == 0));
}

/// Whether T carries a gradient of which these are sum g and sum g xhat. If both are 0 `is_zero`
/// tells whether all of g is.
template <class T, class IsZero>
static inline bool is_ordinary_gradient(T sum, T product, IsZero is_zero) {
  constexpr T most = sizeof(T) == sizeof(float) ? T(0x1p60) : T(0x1p400);
  const T both = magnitude(sum) + magnitude(product);
  return both == 0 ? is_zero() : bool((both <= most) & (both >= 1 / most));
}

/// Elements with one mean: x at runs, where `valid` says so. Element j of a run has the weight
/// w[j / inner], which null makes 1, and the bias b[j / inner], which null makes 0.
template <class T>
struct NormGroup {
  Runs runs;
  const T* x;
  const bool* valid;
  const T *w, *b;
  int64_t inner;
  bool relu, centred = true;
};

/// The row that begins at x[at].
template <class T>
static inline NormGroup<T> row_group(const Rows& r, int64_t at, const NormInput<T>& in) {
  return {{1, r.d, r.d, r.d}, in.x + at, nullptr, in.w, in.b, r.inner, in.relu, r.centred};
}

template <class T>
struct GroupStats {
  Wide<T> mean, var, rstd;
};

/// Its own mean, biased variance and 1 / sqrt(var + eps); 0, 0 and 1 / sqrt(eps) without values.
/// Where it is not centred, 0 stands for its mean.
template <class T>
GroupStats<T> stats_in_double(const NormGroup<T>& group, double eps);

/// y, at the places of x.
template <class T>
void normalize_in_double(const NormGroup<T>& group, const GroupStats<T>& stats, T* y);

/// Whether all of x, w, b and dy are numbers. Else a gradient need not be right where T does not
/// carry it, but what an input that is none has no influence on may not change by a bit.
template <class T>
bool are_finite(const NormGroup<T>& group, const T* dy);

/// Adds to dw[j / inner] and db[j / inner], then dx where it is wanted: training's, or of mean and
/// rstd that are constants.
template <class T>
void gradient_in_double(const NormGroup<T>& group, const GroupStats<T>& stats, bool training,
                        const T* dy, T* dx, double* dw, double* db);

}  // namespace gradus::kernels
