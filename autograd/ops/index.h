#pragma once
#include <gradus/autograd/tape.h>

#include <optional>

namespace gradus {

// Indices are i64 and lie in [0, size): one that does not is an error that names it. Sums are made
// in the order of the indices, on any number of threads; those of i64 have no gradient.

/// y[.., i, ..] = x[.., index[.., i, ..], ..] along the axis.
/// index, y: x's shape but for the size of the axis
Tensor gather(const Tensor& x, int64_t axis, const Tensor& index);
/// A copy of x with src[.., i, ..] added to element index[.., i, ..] of the axis: gather's adjoint.
/// index, src: x's shape but for the size of the axis
Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src);

/// The parts of x that the indices name, in their order: y[.., k, ..] = x[.., indices[k], ..] along
/// the axis.   x: any dtype   indices: (M)   y: x's shape with M along the axis
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& indices);
/// A copy of x with src[.., k, ..] added to element indices[k] of the axis: index_select's adjoint.
/// indices: (M)   src: x's shape with M along the axis
Tensor index_add(const Tensor& x, int64_t axis, const Tensor& indices, const Tensor& src);

/// Rows of a table: y[..., :] = weight[indices[...], :].
/// The row `padding_idx` gets no gradient; a negative one counts from the end.
/// weight: (V, D)   indices: any shape   y: (..., D)
Tensor embedding(const Tensor& weight, const Tensor& indices,
                 std::optional<int64_t> padding_idx = {});

/// y[..., c] = 1 where labels[...] = c, else 0.   labels: any shape   y: (..., classes)
Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype = DType::f32);

}  // namespace gradus
