#pragma once
#include <gradus/autograd/ops/conv.h>

#include <optional>

namespace gradus {

/// How pooling's windows lie.
struct Pool2dOptions {
  std::optional<Pair> stride = {};  ///< default: the kernel
  Pair padding = 0;                 ///< pixels around the image, on each side
  Pair dilation = 1;                ///< max pooling only
  bool ceil_mode = false;  ///< also windows that end beyond the padding, if they begin before
  bool count_include_pad = true;  ///< average pooling: the padding counts as zeros
};

// x: (N, C, H, W)   y: (N, C, H', W'); or both without the batch's axis

/// The largest of each window; NaN if there is one. The gradient goes to the first of equals.
Tensor max_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options = {});
/// The mean of each window.
Tensor avg_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options = {});
/// Output (i, j) of (H', W') is the mean of rows floor(i H / H') .. ceil((i + 1) H / H') - 1 and
/// columns likewise.
Tensor adaptive_avg_pool2d(const Tensor& x, Pair output);

/// The largest of each window, and where they are.
struct MaxPool2dResult {
  Tensor y;        ///< as max_pool2d's
  Tensor indices;  ///< i64, y's shape: h W + w in the plane of x
};
/// max_pool2d, which also tells the places.
MaxPool2dResult max_pool2d_with_indices(const Tensor& x, Pair kernel,
                                        const Pool2dOptions& options = {});

/// Of the pooling that max_unpool2d goes back over.
struct MaxUnpool2dOptions {
  std::optional<Pair> stride = {};       ///< default: the kernel
  Pair padding = 0;                      ///< pixels around the image, on each side
  std::optional<Pair> output_size = {};  ///< default: (H - 1) stride - 2 padding + kernel
};
/// Zeros, and each x at its place; those of one place add up. What max_pool2d_with_indices chose
/// goes back to where it came from: its adjoint.
/// x: (N, C, H, W), or (C, H, W)   indices: x's shape   y: (N, C, H', W'), or (C, H', W'), of
/// output_size, which is less than a stride away from its default
Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Pair kernel,
                    const MaxUnpool2dOptions& options = {});

/// How pooling's windows lie along one axis.
struct Pool1dOptions {
  std::optional<int64_t> stride = {};  ///< default: the kernel
  int64_t padding = 0;                 ///< steps at each end
  int64_t dilation = 1;                ///< max pooling only
  bool ceil_mode = false;              ///< as Pool2dOptions'
  bool count_include_pad = true;       ///< as Pool2dOptions'
};

// Along one axis.   x: (N, C, L)   y: (N, C, L'); or both without the batch's axis

/// As max_pool2d.
Tensor max_pool1d(const Tensor& x, int64_t kernel, const Pool1dOptions& options = {});
/// As avg_pool2d.
Tensor avg_pool1d(const Tensor& x, int64_t kernel, const Pool1dOptions& options = {});
/// As adaptive_avg_pool2d.
Tensor adaptive_avg_pool1d(const Tensor& x, int64_t output);

}  // namespace gradus
