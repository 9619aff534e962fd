#pragma once
#include <gradus/tensor/random.h>

namespace gradus {

/// A copy in which each image is, with the probability, moved by -most .. most pixels down and
/// right, drawn for itself; `fill` moves in (as padding and cropping in He et al. 2016, section
/// 4.2).  images: (N, C, H, W) f32
Tensor random_shift(const Tensor& images, int64_t most, double probability, double fill,
                    Generator& generator = default_generator());

}  // namespace gradus
