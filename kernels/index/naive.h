#pragma once
#include <gradus/kernels/index/index.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// Calls f(place in (outer, n, inner), place in index) for all of index.
template <class F>
void for_each_index(const IndexedAxis& s, const int64_t* index, F f) {
  for (int64_t at = 0; at < s.outer * s.m * s.inner; ++at)
    f((at / (s.m * s.inner) * s.n + index[at]) * s.inner + at % s.inner, at);
}

template <class X>
void gather(const IndexedAxis& s, const int64_t* index, const X* x, X* y) {
  for_each_index(s, index, [&](int64_t in_x, int64_t at) { y[at] = x[in_x]; });
}

template <class X>
void scatter_add(const IndexedAxis& s, const int64_t* index, const X* x, X* y) {
  for_each_index(s, index, [&](int64_t in_y, int64_t at) { y[in_y] += x[at]; });
}

template <class X>
void scatter(const IndexedAxis& s, const int64_t* index, const X* x, X* y) {
  for (int64_t i = 0; i < s.outer * s.n * s.inner; ++i) y[i] = X(0);
  naive::scatter_add(s, index, x, y);
}

/// Calls f(place in (outer, n, inner), place in (outer, m, inner)) for all that index (m) chooses.
template <class F>
void for_each_chosen(const IndexedAxis& s, const int64_t* index, F f) {
  for (int64_t at = 0; at < s.outer * s.m * s.inner; ++at) {
    const int64_t o = at / (s.m * s.inner), k = at / s.inner % s.m;
    f((o * s.n + index[k]) * s.inner + at % s.inner, at);
  }
}

template <class X>
void index_select(const IndexedAxis& s, const int64_t* index, const X* x, X* y) {
  for_each_chosen(s, index, [&](int64_t in_x, int64_t at) { y[at] = x[in_x]; });
}

template <class X>
void index_add(const IndexedAxis& s, const int64_t* index, const X* x, X* y) {
  for_each_chosen(s, index, [&](int64_t in_y, int64_t at) { y[in_y] += x[at]; });
}

template <class X>
void order(const IndexedAxis& s, bool descending, const X* x, int64_t* index) {
  for (int64_t k = 0; k < s.outer * s.inner; ++k) {
    const X* column = x + k / s.inner * s.n * s.inner + k % s.inner;
    const auto less = [](X a, X b) { return a == a && (a < b || b != b); };
    std::vector<int64_t> places(static_cast<size_t>(s.n));
    std::iota(places.begin(), places.end(), 0);
    std::stable_sort(places.begin(), places.end(), [&](int64_t a, int64_t b) {
      const X u = column[a * s.inner], v = column[b * s.inner];
      return descending ? less(v, u) : less(u, v);
    });
    for (int64_t i = 0; i < s.m; ++i)
      index[(k / s.inner * s.m + i) * s.inner + k % s.inner] = places[static_cast<size_t>(i)];
  }
}

template <class X>
void one_hot(int64_t count, int64_t classes, const int64_t* index, X* y) {
  for (int64_t k = 0; k < count * classes; ++k) y[k] = X(index[k / classes] == k % classes);
}

}  // namespace gradus::kernels::naive
