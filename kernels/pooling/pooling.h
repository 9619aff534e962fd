#pragma once
#include <cstdint>

namespace gradus::kernels {

/// The sizes of a 2-D pooling: x (planes, H, W) -> y (planes, OH, OW), planes = N C.
struct Pool2dShape {
  int64_t planes = 1, height = 1, width = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;  // max pooling only
  bool ceil_mode = false;         // also windows that end beyond the padding, if they begin before
  bool count_include_pad = true;  // average pooling: the padding counts as zeros

  /// OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1, rounded up in ceil mode; a last
  /// window that would begin in the padding at the end is left out.
  int64_t output_height() const;
  int64_t output_width() const;
  int64_t x_size() const { return planes * height * width; }
  int64_t y_size() const { return planes * output_height() * output_width(); }
};

/// Throws Error, beginning with `op`, where the sizes do not make a pooling with a non-empty
/// output.
void check_pool2d(const char* op, const Pool2dShape& shape);

/// one_by_one: a window at a time. windows: those that lie inside the image's columns many at a
/// time; for strides of at most 2 along them and no dilation.
enum class PoolPath { automatic, one_by_one, windows };
const char* name(PoolPath path);

/// The path of max_pool2d that `automatic` takes.
PoolPath pool_path(const Pool2dShape& shape);
/// Whether `path` can serve `shape` (forcing one that cannot throws Error).
bool applies(PoolPath path, const Pool2dShape& shape);

// Planes are spread over the threads, each computed alone: the same bits on any number of them.
// Float and double; results are overwritten. Sums are added up in double, those of large windows in
// blocks, and a mean is right, to 2^-20 in float, where its sum leaves T.

/// y = the largest x in each window, a NaN being larger than all (as in PyTorch); indices (planes,
/// OH, OW) = where in its plane it is, i.e. h W + w, the first of equals (with NaNs: the last).
/// Padding is never chosen. Near x it is a gather, its backward a scatter of dy to the indices
/// (kernels/index).
template <class T>
void max_pool2d(const Pool2dShape& shape, const T* x, T* y, int64_t* indices,
                PoolPath path = PoolPath::automatic);

/// y = the sum of each window, divided by its size: with count_include_pad that of the window
/// clipped to the padded input, otherwise clipped to the input. A linear map; backward is its
/// adjoint, and its own backward is avg_pool2d.
template <class T>
void avg_pool2d(const Pool2dShape& shape, const T* x, T* y);
template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, const T* dy, T* dx);

/// y (planes, OH, OW): output (i, j) is the mean of x over rows floor(i H / OH) .. ceil((i + 1) H /
/// OH) - 1 and columns likewise. Backward is the adjoint.
template <class T>
void adaptive_avg_pool2d(int64_t planes, int64_t height, int64_t width, int64_t output_height,
                         int64_t output_width, const T* x, T* y);
template <class T>
void adaptive_avg_pool2d_backward(int64_t planes, int64_t height, int64_t width,
                                  int64_t output_height, int64_t output_width, const T* dy, T* dx);

}  // namespace gradus::kernels
