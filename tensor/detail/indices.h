#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus::raw {

/// The indices in row-major order; an error that names `op` unless they are i64, and one that names
/// the first that is not in [0, size).
Tensor checked_indices(const char* op, const Tensor& indices, int64_t size);

}  // namespace gradus::raw
