#pragma once
#include <cstdint>

// Elements and rows that indices choose; they must lie in range. Sums are made in the order of the
// indices, on any number of threads; those of int64_t modulo 2^64.
namespace gradus::kernels {

/// An axis and what lies around it: x (outer, n, inner); what an index chooses (outer, m, inner).
struct IndexedAxis {
  int64_t outer, n, m, inner;
};

/// Where the first index outside of [0, size) stands, or `count`.   index: (count)
int64_t first_outside(int64_t count, const int64_t* index, int64_t size);

/// y[o, k, j] = x[o, index[o, k, j], j]   index: (outer, m, inner)
template <class T>
void gather(const IndexedAxis& s, const int64_t* index, const T* x, T* y);
/// y[o, index[o, k, j], j] += x[o, k, j], with x (outer, m, inner) and y (outer, n, inner):
/// gather's adjoint.
template <class T>
void scatter_add(const IndexedAxis& s, const int64_t* index, const T* x, T* y);
/// The same from a y of zeros.
template <class T>
void scatter(const IndexedAxis& s, const int64_t* index, const T* x, T* y);

/// y[o, k, j] = x[o, index[k], j]   index: (m)
template <class T>
void index_select(const IndexedAxis& s, const int64_t* index, const T* x, T* y);
/// y[o, index[k], j] += x[o, k, j], with x (outer, m, inner) and y (outer, n, inner): its adjoint.
template <class T>
void index_add(const IndexedAxis& s, const int64_t* index, const T* x, T* y);

/// index[o, i, j] = where along the axis the i-th of x[o, :, j] stands in its order, for the first
/// m of them: upwards, or downwards if `descending`, equal ones as they stood, NaN being the
/// largest. x: (outer, n, inner)   index: (outer, m, inner), m <= n
template <class T>
void order(const IndexedAxis& s, bool descending, const T* x, int64_t* index);

/// y[i, c] = 1 where index[i] = c, else 0.   index: (count)   y: (count, classes)
template <class T>
void one_hot(int64_t count, int64_t classes, const int64_t* index, T* y);

}  // namespace gradus::kernels
