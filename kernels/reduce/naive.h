#pragma once
#include <gradus/kernels/reduce/reduce.h>

#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

template <class X>
void sum(int64_t outer, int64_t n, int64_t inner, const X* x, X* y) {
  for (int64_t k = 0; k < outer * inner; ++k) {
    X total = 0;
    for (int64_t i = 0; i < n; ++i) total += x[(k / inner * n + i) * inner + k % inner];
    y[k] = total;
  }
}

template <class X>
void cumsum(int64_t outer, int64_t n, int64_t inner, bool reverse, const X* x, X* y) {
  for (int64_t k = 0; k < outer * inner; ++k) {
    X total = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (k / inner * n + (reverse ? n - 1 - i : i)) * inner + k % inner;
      y[at] = total += x[at];
    }
  }
}

template <class X>
X sum_of_squares(int64_t n, const X* x) {
  X total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i] * x[i];
  return total;
}

/// The first x that no other is better than, along the middle axis; the first NaN if there is one.
template <class X, class Better>
void extremum(int64_t outer, int64_t n, int64_t inner, const X* x, X* y, int64_t* index,
              Better better) {
  for (int64_t k = 0; k < outer * inner; ++k) {
    const auto at = [&](int64_t i) { return x[(k / inner * n + i) * inner + k % inner]; };
    index[k] = 0;
    for (int64_t i = 1; i < n; ++i) {
      const X best = at(index[k]);
      if (best == best && (better(at(i), best) || at(i) != at(i))) index[k] = i;
    }
    y[k] = at(index[k]);
  }
}
template <class X>
void max(int64_t outer, int64_t n, int64_t inner, const X* x, X* y, int64_t* index) {
  extremum(outer, n, inner, x, y, index, [](X a, X b) { return a > b; });
}
template <class X>
void min(int64_t outer, int64_t n, int64_t inner, const X* x, X* y, int64_t* index) {
  extremum(outer, n, inner, x, y, index, [](X a, X b) { return a < b; });
}

template <class X>
bool all_finite(int64_t n, const X* x) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] - x[i] != 0) return false;
  return true;
}

}  // namespace gradus::kernels::naive
