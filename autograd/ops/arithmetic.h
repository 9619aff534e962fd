#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Binary operations broadcast by NumPy's rule: shapes are aligned at the end, and a dimension of
// size 1 repeats. Both tensors have one dtype; a C++ number takes the tensor's, and is an error
// if the dtype cannot hold it. Sums, differences, products, maxima and minima are also of i64,
// modulo 2^64, and of bool, where + is "or", * is "and", and a difference an error; they have no
// gradient. Quotients and powers are of f32 and f64 alone.

/// a + b
Tensor add(const Tensor& a, const Tensor& b);
Tensor add(const Tensor& a, double b);
/// scale x + shift
Tensor affine(const Tensor& x, double scale, double shift);
/// -x
Tensor neg(const Tensor& x);
/// a - b
Tensor sub(const Tensor& a, const Tensor& b);
inline Tensor sub(const Tensor& a, double b) { return add(a, -b); }
inline Tensor sub(double a, const Tensor& b) { return affine(b, -1, a); }
/// a * b
Tensor mul(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, double b);
/// a / b
Tensor div(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, double b);
Tensor div(double a, const Tensor& b);
/// a^b. The gradient with respect to a is 0 where b is 0, that with respect to b is 0 where a is 0
/// and b is not negative, whatever dy is there, and so are theirs.
Tensor pow(const Tensor& a, const Tensor& b);
/// The same of a number: +-1/2 are roots, integers from -8 to 8 products, as in PyTorch those from
/// -2 to 3.
Tensor pow(const Tensor& a, double b);
Tensor pow(double a, const Tensor& b);
/// The larger one; NaN if one is NaN. Where they are equal each gets half of the gradient; where
/// one is NaN each gets all of it.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, double b);
inline Tensor maximum(double a, const Tensor& b) { return maximum(b, a); }
/// The smaller one, likewise.
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, double b);
inline Tensor minimum(double a, const Tensor& b) { return minimum(b, a); }

/// As add, sub, mul, div and neg.
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, b); }
inline Tensor operator+(double a, const Tensor& b) { return add(b, a); }
inline Tensor operator-(const Tensor& a, double b) { return sub(a, b); }
inline Tensor operator-(double a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, double b) { return mul(a, b); }
inline Tensor operator*(double a, const Tensor& b) { return mul(b, a); }
inline Tensor operator/(const Tensor& a, double b) { return div(a, b); }
inline Tensor operator/(double a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }

/// a = a + b and so on: a stands for the recorded result from here on, and what else has its tensor
/// does not see it. In place, unrecorded: gradus/autograd/ops/inplace.h.
inline Tensor& operator+=(Tensor& a, const Tensor& b) { return a = a + b; }
inline Tensor& operator-=(Tensor& a, const Tensor& b) { return a = a - b; }
inline Tensor& operator*=(Tensor& a, const Tensor& b) { return a = a * b; }
inline Tensor& operator/=(Tensor& a, const Tensor& b) { return a = a / b; }
inline Tensor& operator+=(Tensor& a, double b) { return a = a + b; }
inline Tensor& operator-=(Tensor& a, double b) { return a = a - b; }
inline Tensor& operator*=(Tensor& a, double b) { return a = a * b; }
inline Tensor& operator/=(Tensor& a, double b) { return a = a / b; }

}  // namespace gradus
