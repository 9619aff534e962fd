#pragma once
#include <gradus/autograd/ops/shape.h>

namespace gradus::detail {

/// x with the chosen axes behind the others and as one: (kept..., n).
inline Tensor axes_last(const Tensor& x, const std::array<bool, Shape::kMaxDims>& chosen) {
  Axes order;
  Shape shape;
  int64_t n = 1;
  for (int i = 0; i < x.ndim(); ++i)
    if (!chosen[i]) order.push_back(i), shape.push_back(x.shape()[i]);
  for (int i = 0; i < x.ndim(); ++i)
    if (chosen[i]) order.push_back(i), n *= x.shape()[i];
  shape.push_back(n);
  return reshape(permute(x, order), shape);
}

/// The shape of a reduction's result: without the chosen axes, or with size 1 along them.
inline Shape reduced_shape(const Shape& shape, const std::array<bool, Shape::kMaxDims>& chosen,
                           bool keepdim) {
  Shape result;
  for (int i = 0; i < shape.ndim(); ++i) {
    if (!chosen[i]) result.push_back(shape[i]);
    if (chosen[i] && keepdim) result.push_back(1);
  }
  return result;
}

}  // namespace gradus::detail
