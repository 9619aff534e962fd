#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Views where the strides allow it; no elements move unless said.

/// The same elements, row-major, in another shape; one size may be -1. Copies if x is not
/// contiguous.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Axes first .. last become one.
Tensor flatten(const Tensor& x, int64_t first = 0, int64_t last = -1);
/// Exchanges two axes.
Tensor transpose(const Tensor& x, int64_t axis_a = -2, int64_t axis_b = -1);
/// Axis i of the result is axis order[i] of x.
Tensor permute(const Tensor& x, const Axes& order);
/// Puts in an axis of size 1.
Tensor unsqueeze(const Tensor& x, int64_t axis);
/// Takes away those of the axes, or of all, that have size 1.
Tensor squeeze(const Tensor& x, const Axes& axes = {});
/// Repeats axes of size 1, and x along new leading axes, up to `shape`, where -1 is x's size.
Tensor expand(const Tensor& x, const Shape& shape);
/// Elements begin, begin + step, ... before end of one axis; negative positions count from its end.
Tensor slice(const Tensor& x, int64_t axis, int64_t begin, int64_t end, int64_t step = 1);
/// Element `index` of an axis, which goes away.
Tensor select(const Tensor& x, int64_t axis, int64_t index);
/// The parts of x that lie one after the other along an axis, of these sizes, which add up to x's;
/// of one size, the last may be smaller. concat's inverse; up to 2^24 parts.
TensorList split(const Tensor& x, std::span<const int64_t> sizes, int64_t axis = 0);
inline TensorList split(const Tensor& x, std::initializer_list<int64_t> sizes, int64_t axis = 0) {
  return split(x, std::span(sizes.begin(), sizes.size()), axis);
}
TensorList split(const Tensor& x, int64_t size, int64_t axis = 0);
/// x in `count` parts of one size along an axis, of which the last may be smaller or, as in
/// PyTorch, be missing.
TensorList chunk(const Tensor& x, int64_t count, int64_t axis = 0);
/// Tensors one after the other along an axis they have; copies.
Tensor concat(std::span<const Tensor> tensors, int64_t axis = 0);
inline Tensor concat(std::initializer_list<Tensor> tensors, int64_t axis = 0) {
  return concat(std::span(tensors.begin(), tensors.size()), axis);
}
/// Tensors of one shape beside each other along a new axis; copies.
Tensor stack(std::span<const Tensor> tensors, int64_t axis = 0);
inline Tensor stack(std::initializer_list<Tensor> tensors, int64_t axis = 0) {
  return stack(std::span(tensors.begin(), tensors.size()), axis);
}
/// The tensors that lie beside each other along an axis, up to 2^24: stack's inverse.
TensorList unbind(const Tensor& x, int64_t axis = 0);
/// x in row-major order: x itself, or a copy.
Tensor contiguous(const Tensor& x);
/// A copy in row-major order.
Tensor clone(const Tensor& x);
/// Another tensor with x's elements, a view, which to tapes is a constant.
Tensor detach(const Tensor& x);

}  // namespace gradus
