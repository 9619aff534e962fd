#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus {

/// valid[n, t] = t < lengths[n].  lengths: (N) i64, each 0 .. steps   valid: (N, steps) bool
Tensor length_mask(const Tensor& lengths, int64_t steps);

/// x with 0 in place of whatever stands at positions that are not valid, without gradient there.
/// x: (N, T, D)   valid: (N, T)
Tensor clear_padding(const Tensor& x, const Tensor& valid);

}  // namespace gradus
