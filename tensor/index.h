#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus::raw {

/// A copy of the parts of x that the indices name, in their order: y[.., k, ..] = x[.., indices[k],
/// ..] along the axis. Of any dtype; recorded by no tape.
/// indices: (M) i64   y: x's shape with M along the axis
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& indices,
                    const char* op = "index_select");

}  // namespace gradus::raw
