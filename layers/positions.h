#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus {

/// Where a position stands, as features to add (Vaswani et al. 2017, section 3.5):
/// y[t, 2i] = sin(t / 10000^(2i / dim)), y[t, 2i + 1] = cos(t / 10000^(2i / dim)).
/// y: (steps, dim)
Tensor sinusoidal_positions(int64_t steps, int64_t dim, DType dtype = DType::f32);

/// Neighbouring features as pairs, that of position first + t turned by the angle (first + t)
/// theta_i, theta_i = base^(-2i / D) (Su et al. 2021, equation 34): products of queries and keys
/// then depend on the distance alone.  x: (..., T, D), D even   y: like x
Tensor rotary(const Tensor& x, int64_t first = 0, double base = 10000);

}  // namespace gradus
