#pragma once
#include <gradus/kernels/pooling/pooling.h>

#include <cstdint>

// Definitions of this family: what the kernels are compared with, and what serves where none of
// them does.
namespace gradus::kernels::naive {

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
