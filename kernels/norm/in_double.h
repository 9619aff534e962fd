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

/// Whether T carries a group by these statistics. The mean, rounded, is off by 2^-24 of itself: up
/// to 8 standard deviations, by at most 2^-21 of one. Beyond 2^40 squares come near the ends of
/// f32.
template <class T>
static inline bool is_ordinary(T mean, T rstd, T eps) {
  if constexpr (sizeof(T) == sizeof(double))
    return bool((magnitude(mean) <= 0x1p1000) & (rstd >= 0x1p-400) & (rstd <= 0x1p400));
  const T ratio = mean * rstd;
  // var / (var + eps), without what rounding rstd may have added
  const T share = T(1 - 0x1p-20) - eps * (rstd * rstd);
  return bool((rstd >= T(0x1p-40)) & (rstd <= T(0x1p40)) &
              ((mean == 0) | (ratio * ratio <= 64 * share)));
}

/// Whether T carries y = (x - mean) scale for every x; w is the weight in scale.
template <class T>
static inline bool is_ordinary_map(T mean, T scale, T w) {
  constexpr T far = sizeof(T) == sizeof(float) ? T(0x1p100) : T(0x1p1000),
              steep = sizeof(T) == sizeof(float) ? T(0x1p60) : T(0x1p400);
  const T s = magnitude(scale);
  return bool((magnitude(mean) <= far) & ((w == 0) | ((s >= 1 / steep) & (s <= steep))));
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
