#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Reductions over `axes`; none given means all. With keepdim the reduced axes stay, with size 1.

/// The sum of the elements.
Tensor sum(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// Their sum over their number; of no elements an error.
Tensor mean(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// sum (x - mean)^2 / (n - correction), n elements a group; in two passes.
Tensor var(const Tensor& x, const Axes& axes = {}, bool keepdim = false, int64_t correction = 1);
/// The largest; NaN if there is one. Equal ones share the gradient.
Tensor(max)(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// The smallest, likewise.
Tensor(min)(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
/// Where along the axis the first of the largest stands (i64); of several axes, the place among
/// their elements in row-major order.
Tensor argmax(const Tensor& x, int64_t axis, bool keepdim = false);
Tensor argmax(const Tensor& x, const Axes& axes = {}, bool keepdim = false);

/// x summed down to a shape that broadcasts to x's: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace gradus
