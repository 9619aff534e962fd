#pragma once
#include <cstdint>

namespace gradus::kernels {

/// y = sum x along the middle axis. In f32 blocks of at most 1024 elements of a row, or 64 rows of
/// a column, are added up in f32 by 16 or more accumulators, the blocks in f64: the error is at
/// most 76 eps sum |x|, in the mean far less, and does not grow with n.   x: (outer, n, inner)   y:
/// (outer, inner)
template <class T>
void sum(int64_t outer, int64_t n, int64_t inner, const T* x, T* y);

/// sum x^2, added up in f64 in an order that n alone fixes; for a norm over all gradients.   x: (n)
template <class T>
double sum_of_squares(int64_t n, const T* x);

/// y = max x along the middle axis, index the place of the first that equals it unless null. NaN
/// counts as the largest; n >= 1.   x: (outer, n, inner)   y, index: (outer, inner)
template <class T>
void max(int64_t outer, int64_t n, int64_t inner, const T* x, T* y, int64_t* index);

/// The same for the smallest; NaN counts as the smallest.
template <class T>
void min(int64_t outer, int64_t n, int64_t inner, const T* x, T* y, int64_t* index);

// Of integers, sums and products modulo 2^64:
template <>
void sum(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y);
template <>
void max(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, int64_t* index);
template <>
void min(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y, int64_t* index);

/// y = the product of x along the middle axis, modulo 2^64.   x: (outer, n, inner)   y: (outer,
/// inner)
void product_of_integers(int64_t outer, int64_t n, int64_t inner, const int64_t* x, int64_t* y);

/// y[o, i, j] = x[o, 0, j] + .. + x[o, i, j], or + .. from the other end if `reverse`; f32 adds up
/// in f64, int64_t modulo 2^64.   x, y: (outer, n, inner)
template <class T>
void cumsum(int64_t outer, int64_t n, int64_t inner, bool reverse, const T* x, T* y);

/// Whether neither an infinity nor a NaN is in x.   x: (n)
template <class T>
bool all_finite(int64_t n, const T* x);

}  // namespace gradus::kernels
