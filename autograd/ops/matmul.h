#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// y = op(a) op(b), where op transposes the last two axes if its flag says so.
/// op(a): (..., M, K)   op(b): (..., K, N)   y: (..., M, N), leading axes broadcast.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

}  // namespace gradus
