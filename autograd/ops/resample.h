#pragma once
#include <gradus/autograd/ops/conv.h>

#include <optional>

namespace gradus {

/// What interpolate() makes of the pixels around a place.
enum class Interpolation {
  nearest,  ///< the pixel in which it lies
  bilinear  ///< the four around it by their distance, or two along one axis: PyTorch's linear
};

/// To which size interpolate() brings an image, and how: one of the first two is given.
struct InterpolateOptions {
  std::optional<Pair> size = {};                ///< H' and W'
  std::optional<double> scale = {};             ///< H' = floor(scale H), W' likewise
  Interpolation mode = Interpolation::nearest;  ///< what is made of the pixels
  bool align_corners = false;  ///< bilinear: the centers of the corners' pixels stay corners
};

/// x at H' x W' places of a regular grid. Output i lies at r i in x (nearest), r (i + 1/2) - 1/2
/// and not below 0 (bilinear), r = H / H', or 1 / scale if that is given; with align_corners at (H
/// - 1) / (H' - 1) i. An image that keeps its size stays as it is. x: (N, C, H, W), or (N, C, L)
/// along one axis   y: (N, C, H', W'), (N, C, L')
Tensor interpolate(const Tensor& x, const InterpolateOptions& options);

}  // namespace gradus
