#pragma once
#include <gradus/kernels/elementwise/elementwise.h>

#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

template <class F, class X>
void unary(const F& f, int64_t n, const X* x, X* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = f.value(x[i]);
}

template <class F, class X>
void unary_backward(const F& f, int64_t n, const X* dy, const X* kept, X* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = f.gradient(dy[i], kept[i]);
}

template <class X>
void accumulate(int64_t n, const X* x, X* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class X>
void add_value(int64_t n, X value, X* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += value;
}

template <class X>
void scale(int64_t n, X alpha, X* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= alpha;
}

template <class X>
void fill(int64_t n, X value, X* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = value;
}

template <class From, class To>
void cast(int64_t n, const From* x, To* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<To>(x[i]);
}

/// Where element `i` of a contiguous array of `sizes` stands in one with these strides.
inline int64_t offset(int ndim, const int64_t* sizes, const int64_t* strides, int64_t i) {
  int64_t result = 0;
  for (int d = ndim - 1; d >= 0; i /= sizes[d--]) result += i % sizes[d] * strides[d];
  return result;
}

inline int64_t numel(int ndim, const int64_t* sizes) {
  int64_t n = 1;
  for (int d = 0; d < ndim; ++d) n *= sizes[d];
  return n;
}

/// y = f(a, b)
template <class F, class X, class Y>
void broadcast(F f, const BroadcastLayout& l, const X* a, const X* b, Y* y) {
  for (int64_t i = 0; i < numel(l.ndim, l.sizes); ++i)
    y[i] =
        f(a[offset(l.ndim, l.sizes, l.a_strides, i)], b[offset(l.ndim, l.sizes, l.b_strides, i)]);
}

template <class X>
void where(const WhereLayout& l, const bool* c, const X* a, const X* b, X* y) {
  for (int64_t i = 0; i < numel(l.ndim, l.sizes); ++i)
    y[i] = c[offset(l.ndim, l.sizes, l.c_strides, i)] ? a[offset(l.ndim, l.sizes, l.a_strides, i)]
                                                      : b[offset(l.ndim, l.sizes, l.b_strides, i)];
}

template <class X>
void scale_where(int64_t n, const bool* c, X factor, const X* x, X* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? X(factor * x[i]) : X(0);
}

template <class X>
void copy_strided(int ndim, const int64_t* sizes, const X* x, const int64_t* x_strides, X* y) {
  for (int64_t i = 0; i < numel(ndim, sizes); ++i) y[i] = x[offset(ndim, sizes, x_strides, i)];
}

template <class X>
void copy_to_strided(int ndim, const int64_t* sizes, const X* x, X* y, const int64_t* y_strides) {
  for (int64_t i = 0; i < numel(ndim, sizes); ++i) y[offset(ndim, sizes, y_strides, i)] = x[i];
}

}  // namespace gradus::kernels::naive
