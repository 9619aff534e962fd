#pragma once
#include <gradus/kernels/conv/conv.h>

#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// Calls f(index in x, index in w, index in y) for every product in the sum that defines conv2d.
template <class F>
void for_each_product(const Conv2dShape& s, F f) {
  const int64_t oh = s.output_height(), ow = s.output_width();
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t o = 0; o < s.out_channels; ++o)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j)
          for (int64_t c = 0; c < s.group_in(); ++c)
            for (int64_t p = 0; p < s.kernel_h; ++p)
              for (int64_t q = 0; q < s.kernel_w; ++q) {
                const int64_t h = i * s.stride_h - s.padding_h + p * s.dilation_h;
                const int64_t v = j * s.stride_w - s.padding_w + q * s.dilation_w;
                if (h < 0 || h >= s.height || v < 0 || v >= s.width) continue;
                const int64_t channel = o / s.group_out() * s.group_in() + c;
                f(((n * s.in_channels + channel) * s.height + h) * s.width + v,
                  ((o * s.group_in() + c) * s.kernel_h + p) * s.kernel_w + q,
                  ((n * s.out_channels + o) * oh + i) * ow + j);
              }
}

template <class T>
void conv2d(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y) {
  const int64_t plane = s.output_height() * s.output_width();
  for (int64_t k = 0; k < s.y_size(); ++k) y[k] = bias ? bias[k / plane % s.out_channels] : T(0);
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) { y[iy] += w[iw] * x[ix]; });
}
template <class T>
void conv2d_input(const Conv2dShape& s, const T* dy, const T* w, T* dx) {
  for (int64_t k = 0; k < s.x_size(); ++k) dx[k] = T(0);
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) { dx[ix] += w[iw] * dy[iy]; });
}
template <class T>
void conv2d_weight(const Conv2dShape& s, const T* x, const T* dy, T* dw) {
  for (int64_t k = 0; k < s.w_size(); ++k) dw[k] = T(0);
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) { dw[iw] += x[ix] * dy[iy]; });
}

}  // namespace gradus::kernels::naive
