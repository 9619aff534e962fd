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

// Planes are spread over the threads, each computed alone: the same bits on any number of them.
// Float and double; results are overwritten.

/// y = the largest x in each window, a NaN being larger than all (as in PyTorch); indices (planes,
/// OH, OW) = where in its plane it is, i.e. h W + w, the first of equals (with NaNs: the last).
/// Padding is never chosen.
template <class T>
void max_pool2d(const Pool2dShape& shape, const T* x, T* y, int64_t* indices);

/// The linear map that max_pool2d is near x, and its adjoint:
/// gather:  y[p, k] = x[p, indices[p, k]],   x (planes, x_plane), y and indices (planes, y_plane)
/// scatter: dx[p, i] = sum of dy[p, k] over the k with indices[p, k] = i: max_pool2d's backward.
/// Each is the other's gradient.
template <class T>
void pool_gather(int64_t planes, int64_t x_plane, int64_t y_plane, const T* x,
                 const int64_t* indices, T* y);
template <class T>
void pool_scatter(int64_t planes, int64_t x_plane, int64_t y_plane, const T* dy,
                  const int64_t* indices, T* dx);

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

namespace naive {

/// The window of output (i, j) of one plane.
template <class T>
void max_window(const Pool2dShape& s, const T* plane, int64_t i, int64_t j, T* y, int64_t* index) {
  int64_t best = -1;
  for (int64_t p = 0; p < s.kernel_h; ++p)
    for (int64_t q = 0; q < s.kernel_w; ++q) {
      const int64_t h = i * s.stride_h - s.padding_h + p * s.dilation_h,
                    v = j * s.stride_w - s.padding_w + q * s.dilation_w;
      if (h < 0 || h >= s.height || v < 0 || v >= s.width) continue;
      const T value = plane[h * s.width + v];
      if (best < 0 || value > plane[best] || value != value) best = h * s.width + v;
    }
  *y = plane[best];
  *index = best;
}

template <class T>
void max_pool2d(const Pool2dShape& s, const T* x, T* y, int64_t* indices) {
  const int64_t oh = s.output_height(), ow = s.output_width();
  for (int64_t k = 0; k < s.y_size(); ++k)
    max_window(s, x + k / (oh * ow) * s.height * s.width, k / ow % oh, k % ow, y + k, indices + k);
}

/// Calls f(index in x, index in y, divisor) for every term of every average, padding left out.
template <class F>
void for_each_average_term(const Pool2dShape& s, F f) {
  const int64_t oh = s.output_height(), ow = s.output_width();
  for (int64_t k = 0; k < s.y_size(); ++k) {
    const int64_t top = k / ow % oh * s.stride_h - s.padding_h,
                  left = k % ow * s.stride_w - s.padding_w;
    int64_t counted = 0;
    for (int pass = 0; pass < 2; ++pass)  // count, then divide
      for (int64_t h = top; h < top + s.kernel_h; ++h)
        for (int64_t v = left; v < left + s.kernel_w; ++v) {
          const bool inside = h >= 0 && h < s.height && v >= 0 && v < s.width;
          const bool padded = h < s.height + s.padding_h && v < s.width + s.padding_w;
          if (pass == 0)
            counted += s.count_include_pad ? padded : inside;
          else if (inside)
            f(k / (oh * ow) * s.height * s.width + h * s.width + v, k, counted);
        }
  }
}

template <class T>
void avg_pool2d(const Pool2dShape& s, const T* x, T* y) {
  for (int64_t k = 0; k < s.y_size(); ++k) y[k] = T(0);
  for_each_average_term(s, [&](int64_t ix, int64_t iy, int64_t n) { y[iy] += x[ix] / T(n); });
}
template <class T>
void avg_pool2d_backward(const Pool2dShape& s, const T* dy, T* dx) {
  for (int64_t k = 0; k < s.x_size(); ++k) dx[k] = T(0);
  for_each_average_term(s, [&](int64_t ix, int64_t iy, int64_t n) { dx[ix] += dy[iy] / T(n); });
}

template <class T>
void adaptive_avg_pool2d(int64_t planes, int64_t height, int64_t width, int64_t oh, int64_t ow,
                         const T* x, T* y) {
  for (int64_t k = 0; k < planes * oh * ow; ++k) {
    const int64_t i = k / ow % oh, j = k % ow;
    const int64_t top = i * height / oh, bottom = ((i + 1) * height + oh - 1) / oh;
    const int64_t left = j * width / ow, right = ((j + 1) * width + ow - 1) / ow;
    T sum(0);
    for (int64_t h = top; h < bottom; ++h)
      for (int64_t v = left; v < right; ++v) sum += x[(k / (oh * ow) * height + h) * width + v];
    y[k] = sum / T((bottom - top) * (right - left));
  }
}

}  // namespace naive
}  // namespace gradus::kernels
