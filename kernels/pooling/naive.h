#pragma once
#include <gradus/kernels/pooling/pooling.h>

#include <algorithm>
#include <cstdint>

// Definitions of this family: what the kernels are compared with, and what serves where none of
// them does.
namespace gradus::kernels::naive {

/// Rows, columns, windows or taps of a window [begin, end).
struct Range {
  int64_t begin, end;
};

/// The taps p of a window, of its rows or its columns, at which first + p dilation lies in [0,
/// size).
inline Range taps_inside(int64_t first, int64_t kernel, int64_t dilation, int64_t size) {
  const int64_t begin = first < 0 ? (dilation - 1 - first) / dilation : 0;
  const int64_t end = first < size ? std::min(kernel, (size - 1 - first) / dilation + 1) : 0;
  return {begin, end};
}

/// The window of output (i, j) of one plane.
template <class T>
void max_window(const Pool2dShape& s, const T* plane, int64_t i, int64_t j, T* y, int64_t* index) {
  const int64_t top = i * s.stride_h - s.padding_h, left = j * s.stride_w - s.padding_w;
  const Range rows = taps_inside(top, s.kernel_h, s.dilation_h, s.height),
              columns = taps_inside(left, s.kernel_w, s.dilation_w, s.width);
  int64_t best = -1;
  for (int64_t p = rows.begin; p < rows.end; ++p)
    for (int64_t q = columns.begin; q < columns.end; ++q) {
      const int64_t h = top + p * s.dilation_h, v = left + q * s.dilation_w;
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

/// Calls f(window's rows, columns, index in y, divisor) for every average, padding left out.
template <class F>
void for_each_average(const Pool2dShape& s, F f) {
  const int64_t oh = s.output_height(), ow = s.output_width();
  for (int64_t k = 0; k < s.y_size(); ++k) {
    const int64_t top = k / ow % oh * s.stride_h - s.padding_h,
                  left = k % ow * s.stride_w - s.padding_w;
    const int64_t bottom = std::min(top + s.kernel_h, s.height + s.padding_h),
                  right = std::min(left + s.kernel_w, s.width + s.padding_w);
    const Range rows{std::max<int64_t>(0, top), std::min(bottom, s.height)},
        columns{std::max<int64_t>(0, left), std::min(right, s.width)};
    const int64_t counted = s.count_include_pad
                                ? (bottom - top) * (right - left)
                                : (rows.end - rows.begin) * (columns.end - columns.begin);
    f(rows, columns, k, std::max<int64_t>(1, counted));  // an image of no rows has a mean of 0
  }
}

template <class T>
void avg_pool2d(const Pool2dShape& s, const T* x, T* y) {
  const int64_t outputs = s.output_height() * s.output_width();
  for_each_average(s, [&](Range rows, Range columns, int64_t k, int64_t counted) {
    T sum(0);
    for (int64_t h = rows.begin; h < rows.end; ++h)
      for (int64_t v = columns.begin; v < columns.end; ++v)
        sum += x[(k / outputs * s.height + h) * s.width + v];
    y[k] = sum / T(counted);
  });
}

/// f(plane's first place in x, place in y, top, bottom, left, right) for every output.
template <class F>
void for_each_adaptive_window(int64_t planes, int64_t height, int64_t width, int64_t oh, int64_t ow,
                              F f) {
  for (int64_t k = 0; k < planes * oh * ow; ++k) {
    const int64_t i = k / ow % oh, j = k % ow;
    f(k / (oh * ow) * height * width, k, i * height / oh, ((i + 1) * height + oh - 1) / oh,
      j * width / ow, ((j + 1) * width + ow - 1) / ow);
  }
}

template <class T>
void adaptive_avg_pool2d(int64_t planes, int64_t height, int64_t width, int64_t oh, int64_t ow,
                         const T* x, T* y) {
  for_each_adaptive_window(
      planes, height, width, oh, ow,
      [&](int64_t plane, int64_t k, int64_t top, int64_t bottom, int64_t left, int64_t right) {
        T sum(0);
        for (int64_t h = top; h < bottom; ++h)
          for (int64_t v = left; v < right; ++v) sum += x[plane + h * width + v];
        y[k] = sum / T((bottom - top) * (right - left));
      });
}
template <class T>
void adaptive_avg_pool2d_backward(int64_t planes, int64_t height, int64_t width, int64_t oh,
                                  int64_t ow, const T* dy, T* dx) {
  for (int64_t k = 0; k < planes * height * width; ++k) dx[k] = T(0);
  for_each_adaptive_window(
      planes, height, width, oh, ow,
      [&](int64_t plane, int64_t k, int64_t top, int64_t bottom, int64_t left, int64_t right) {
        for (int64_t h = top; h < bottom; ++h)
          for (int64_t v = left; v < right; ++v)
            dx[plane + h * width + v] += dy[k] / T((bottom - top) * (right - left));
      });
}

}  // namespace gradus::kernels::naive
