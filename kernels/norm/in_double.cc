#include <gradus/kernels/norm/in_double.h>
#include <gradus/kernels/runtime/types.h>

#include <algorithm>
#include <cmath>

namespace gradus::kernels {
namespace {

/// f(place in x, place of its weight, whether it is valid) for each element.
template <class T, class F>
void for_each_element(const NormGroup<T>& g, F f) {
  const Runs& r = g.runs;
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = 0, k = 0; j < r.columns; ++k)
      for (const int64_t end = std::min(j + g.inner, r.columns); j < end; ++j)
        f(i * r.stride + j, k, !g.valid || g.valid[i * r.valid_stride + j]);
}

/// What one element of x is to its group.
template <class T>
struct Element {
  Element(const NormGroup<T>& g, const GroupStats<T>& s, int64_t at, int64_t k)
      : xhat((static_cast<Wide<T>>(g.x[at]) - s.mean) * s.rstd),
        weight(g.w ? static_cast<Wide<T>>(g.w[k]) : 1),
        y(xhat * weight + (g.b ? static_cast<Wide<T>>(g.b[k]) : 0)) {}
  Wide<T> xhat, weight, y;
};

}  // namespace

template <class T>
GroupStats<T> stats_in_double(const NormGroup<T>& g, double eps) {
  Wide<T> count = 0, mean = 0, squares = 0;
  for_each_element(g, [&](int64_t, int64_t, bool valid) { count += valid; });
  // What the first round misses of the mean the second adds, so that equal numbers have variance 0.
  for (int round = 0; round < 2 && g.centred; ++round) {
    Wide<T> missed = 0;
    for_each_element(g, [&](int64_t at, int64_t, bool valid) {
      if (valid) missed += static_cast<Wide<T>>(g.x[at]) - mean;
    });
    if (count > 0) mean += missed / count;
  }
  for_each_element(g, [&](int64_t at, int64_t, bool valid) {
    const Wide<T> v = static_cast<Wide<T>>(g.x[at]) - mean;
    if (valid) squares += v * v;
  });
  const Wide<T> var = count > 0 ? squares / count : 0;
  return {mean, var, 1 / std::sqrt(var + eps)};
}

template <class T>
void normalize_in_double(const NormGroup<T>& g, const GroupStats<T>& stats, T* y) {
  for_each_element(g, [&](int64_t at, int64_t k, bool valid) {
    const Wide<T> v = valid ? Element<T>(g, stats, at, k).y : 0;
    y[at] = g.relu && v < 0 ? T(0) : static_cast<T>(v);
  });
}

template <class T>
bool are_finite(const NormGroup<T>& g, const T* dy) {
  bool all = true;
  for_each_element(g, [&](int64_t at, int64_t k, bool valid) {
    if (!valid) return;
    all &= std::isfinite(g.x[at]) && std::isfinite(dy[at]);
    all &= (!g.w || std::isfinite(g.w[k])) && (!g.b || std::isfinite(g.b[k]));
  });
  return all;
}

// NOLINTBEGIN(readability-non-const-parameter): a lambda writes to dw and db.
template <class T>
void gradient_in_double(const NormGroup<T>& g, const GroupStats<T>& stats, bool training,
                        const T* dy, T* dx, double* dw, double* db) {
  const auto passing = [&](const Element<T>& e, int64_t at) {
    return g.relu && e.y <= 0 ? 0 : static_cast<Wide<T>>(dy[at]);
  };
  Wide<T> count = 0, sum = 0, product = 0;
  for_each_element(g, [&](int64_t at, int64_t k, bool valid) {
    if (!valid) return;
    const Element<T> e(g, stats, at, k);
    const Wide<T> d = passing(e, at);
    ++count, sum += d * e.weight, product += d * e.weight * e.xhat;
    if (dw) dw[k] += static_cast<double>(d * e.xhat);
    if (db) db[k] += static_cast<double>(d);
  });
  if (!dx) return;
  const Wide<T> mean = training && g.centred ? sum / count : 0,
                slope = training ? product / count : 0;
  for_each_element(g, [&](int64_t at, int64_t k, bool valid) {
    const Element<T> e(g, stats, at, k);
    dx[at] = !valid
                 ? T(0)
                 : static_cast<T>((passing(e, at) * e.weight - mean - e.xhat * slope) * stats.rstd);
  });
}
// NOLINTEND(readability-non-const-parameter)

GRADUS_INSTANTIATE(stats_in_double<T>, normalize_in_double<T>, are_finite<T>, gradient_in_double<T>)

}  // namespace gradus::kernels
