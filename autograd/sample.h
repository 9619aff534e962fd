#pragma once
#include <gradus/autograd/op.h>

namespace gradus {

/// A leaf of f64 values spread evenly at random over [low, high), the same for the same seed: what
/// ops' samples are made of.
Tensor sample(const Shape& shape, uint64_t seed, double low = -2, double high = 2);

/// Samples of several shapes for an op of two broadcasting tensors.
std::vector<OpSample> broadcast_samples(Tensor (*f)(const Tensor&, const Tensor&), double low_a,
                                        double high_a, double low_b, double high_b);

}  // namespace gradus
