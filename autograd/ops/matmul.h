#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// y = op(a) op(b), where op transposes the last two axes if its flag says so.
/// op(a): (..., M, K)   op(b): (..., K, N)   y: (..., M, N), leading axes broadcast.
///
/// A vector is a row on the left, a column on the right, is not transposed, and leaves no axis in
/// y: (K) by (K, N) is (N), (M, K) by (K) is (M), (K) by (K) a scalar.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// y = sum_i a_i b_i   a, b: (K)   y: ()
Tensor dot(const Tensor& a, const Tensor& b);
/// y_ij = a_i b_j   a: (M)   b: (N)   y: (M, N)
Tensor outer(const Tensor& a, const Tensor& b);

}  // namespace gradus
