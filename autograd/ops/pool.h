#pragma once
#include <gradus/autograd/ops/conv.h>

#include <optional>

namespace gradus {

/// How pooling's windows lie.
struct Pool2dOptions {
  std::optional<Pair> stride = {};  ///< default: the kernel
  Pair padding = {0, 0};            ///< pixels around the image, on each side
  Pair dilation = {1, 1};           ///< max pooling only
  bool ceil_mode = false;  ///< also windows that end beyond the padding, if they begin before
  bool count_include_pad = true;  ///< average pooling: the padding counts as zeros
};

// x: (N, C, H, W)   y: (N, C, H', W')

/// The largest of each window; NaN if there is one. The gradient goes to the first of equals.
Tensor max_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options = {});
/// The mean of each window.
Tensor avg_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options = {});
/// Output (i, j) of (H', W') is the mean of rows floor(i H / H') .. ceil((i + 1) H / H') - 1 and
/// columns likewise.
Tensor adaptive_avg_pool2d(const Tensor& x, Pair output);

}  // namespace gradus
