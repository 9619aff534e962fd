#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// Elements of a tensor, and where along an axis they stood (i64).
struct ValuesAndIndices {
  Tensor values;   ///< the elements
  Tensor indices;  ///< their places along the axis
};

// Of any dtype, along one axis. Equal elements keep their order; NaN is the largest. The values are
// those of x at the indices, and so are their gradients.

/// x in order: upwards, or downwards.   values, indices: x's shape
ValuesAndIndices sort(const Tensor& x, int64_t axis = -1, bool descending = false);
/// The indices alone.
Tensor argsort(const Tensor& x, int64_t axis = -1, bool descending = false);
/// The k largest, from the largest on, or the k smallest, from the smallest on.
/// values, indices: x's shape with k along the axis
ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t axis = -1, bool largest = true);

/// The largest along the axis, and where the first of them stands, which has the whole gradient:
/// PyTorch's max(x, dim). max(x, axes) shares it among equal ones. Not of bool.
ValuesAndIndices max_with_indices(const Tensor& x, int64_t axis, bool keepdim = false);
/// The smallest, likewise.
ValuesAndIndices min_with_indices(const Tensor& x, int64_t axis, bool keepdim = false);

}  // namespace gradus
