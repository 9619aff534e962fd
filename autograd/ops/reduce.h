#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Reductions over `axes`; none given means all. With keepdim the reduced axes stay, with size 1.

/// The sum of the elements; i64 of i64 (modulo 2^64) and of bool, of which it is the number of true
/// ones.
Tensor sum(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// Their sum over their number; of no elements an error.
Tensor mean(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// sum (x - mean)^2 / (n - correction), n elements a group; in two passes.
Tensor var(const Tensor& x, const Axes& axes = {}, bool keepdim = false, int64_t correction = 1);
/// The largest, of any dtype; NaN if there is one. Equal ones share the gradient.
Tensor(max)(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// The smallest, likewise.
Tensor(min)(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// Where along the axis the first of the largest stands (i64); of several axes, the place among
/// their elements in row-major order.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);
Tensor argmax(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// The first of the smallest, likewise.
Tensor argmin(const Tensor& x, int64_t axis, bool keepdim = false);
Tensor argmin(const Tensor& x, const Axes& axes = {}, bool keepdim = false);

/// x summed down to a shape that broadcasts to x's: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// The product of the elements, 1 of none; i64 of i64 (modulo 2^64) and of bool. Its derivatives of
/// every order are right where elements are 0.
Tensor prod(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// The square root of var; where that is 0 its gradient is, too. PyTorch's std, which as a function
/// would be taken for the namespace.
Tensor stddev(const Tensor& x, const Axes& axes = {}, bool keepdim = false, int64_t correction = 1);
/// (sum |x|^p)^(1/p), p > 0: of 2 the length, of infinity the largest |x|; of 0 how many are not 0.
/// The gradient at 0 is 0. Powers do not overflow where the result does not.
Tensor norm(const Tensor& x, double p = 2, const Axes& axes = {}, bool keepdim = false);
/// y_i = x_0 + .. + x_i along the axis; f32 is added up in f64, bool counted as i64.
Tensor cumsum(const Tensor& x, int64_t axis);
/// Whether any, or every, element along the axes is true; bool, as any(a) and all(a) of compare.h
/// are C++'s of all elements.
Tensor any(const Tensor& a, const Axes& axes, bool keepdim = false);
Tensor all(const Tensor& a, const Axes& axes, bool keepdim = false);

}  // namespace gradus
