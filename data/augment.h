#pragma once
#include <gradus/data/dataset.h>
#include <gradus/tensor/random.h>

namespace gradus {

// Recorded by no tape. In a loader's `transform` they draw from the generator that it is given.

/// A copy in which each image is, with the probability, moved by -most .. most pixels down and
/// right, drawn for itself; `fill` moves in (as padding and cropping in He et al. 2016, section
/// 4.2).  images: (N, C, H, W) f32
Tensor random_shift(const Tensor& images, int64_t most, double probability, double fill,
                    Generator& generator = default_generator());

/// A copy in which each image is, with the probability, mirrored along the axis: -1, left and
/// right, or -2, top and bottom.  images: (N, C, H, W) of any dtype
Tensor random_flip(const Tensor& images, double probability = 0.5, int64_t axis = -1,
                   Generator& generator = default_generator());

/// (height, width) of each image, from a place drawn for itself, each as likely as the others,
/// within the image and `padding` pixels of `fill` around it.   images: (N, C, H, W) of any dtype
/// result: (N, C, height, width)
Tensor random_crop(const Tensor& images, int64_t height, int64_t width, int64_t padding = 0,
                   double fill = 0, Generator& generator = default_generator());

/// Each image turned counterclockwise around its middle by its angle, in degrees: a pixel is
/// interpolated (bilinear) between the four around the place that it comes from, outside of which
/// there is `fill`.   images: (N, C, H, W) f32   angles: (N) f32 or f64
Tensor rotate(const Tensor& images, const Tensor& angles, double fill = 0);
/// The same by angles drawn from [-most, most).
Tensor random_rotation(const Tensor& images, double most, double fill = 0,
                       Generator& generator = default_generator());

/// x + deviation * (independent normals of mean 0 and variance 1).   x: f32 or f64
Tensor random_noise(const Tensor& x, double deviation, Generator& generator = default_generator());

/// Each item and another of the batch, a x_n + (1 - a) x_m, with one a for the batch, drawn from
/// Beta(alpha, alpha) (Zhang et al. 2018). Labels become probabilities (N, classes) in x's dtype,
/// mixed alike, as a floating y is; `classes` becomes 0, since y holds labels no more.
/// batch.x: f32 or f64   batch.y: labels, or floating   alpha > 0
Dataset mixup(const Dataset& batch, double alpha, Generator& generator = default_generator());

}  // namespace gradus
