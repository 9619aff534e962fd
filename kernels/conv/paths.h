#pragma once
// The ways of convolution that conv.cc chooses from. Each gives y, dx, and dw with db (db may be
// null).

#include <gradus/kernels/conv/conv.h>
#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/long_sum.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>

namespace gradus::kernels {

/// Also pointwise.
template <class T>
void im2col_conv2d(const Conv2dShape& s, const T* x, const T* w, const T* bias, T* y);
template <class T>
void im2col_conv2d_input(const Conv2dShape& s, const T* dy, const T* w, T* dx);
template <class T>
void im2col_conv2d_weight(const Conv2dShape& s, const T* x, const T* dy, T* dw, T* db);

void direct_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                   float* y);
void direct_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx);
void direct_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                          float* db);

/// These do nothing that counts and return false where a weight is too large or too small for it.
bool winograd_conv2d(const Conv2dShape& s, const float* x, const float* w, const float* bias,
                     float* y);
bool winograd_conv2d_input(const Conv2dShape& s, const float* dy, const float* w, float* dx);
void winograd_conv2d_weight(const Conv2dShape& s, const float* x, const float* dy, float* dw,
                            float* db);

// What every way ends with: results that are not finite are computed again by the definition, in
// f64 and from what lies in the image alone. So an infinity or a NaN reaches those who see it and
// no others, whatever a padded product, a transform or the order of a sum has made of it.

/// Of y[begin] .. y[end - 1].
template <class T>
void define_y(const Conv2dShape& s, const T* x, const T* w, const T* bias, int64_t begin,
              int64_t end, T* y);
/// Of dx[begin] .. dx[end - 1].
template <class T>
void define_dx(const Conv2dShape& s, const T* dy, const T* w, int64_t begin, int64_t end, T* dx);
/// Of all of dw, and of db unless it is null.
template <class T>
void define_dw(const Conv2dShape& s, const T* x, const T* dy, T* dw, T* db);

/// dw = the sum over the images n of what add(n, sums) adds to `sums`, of dw's shape; db likewise
/// of dy. Cut into pieces by the batch and added in order, so that threads do not show.
template <class T, class Add>
void sum_over_images(const Conv2dShape& s, const T* dy, T* dw, T* db, Add add) {
  constexpr int64_t kPieces = 16;
  const int64_t images = std::max<int64_t>(1, ceil_div(s.batch, kPieces));
  const int64_t pieces = ceil_div(s.batch, images);
  const int64_t weights = s.w_size(), size = weights + s.out_channels;
  const int64_t plane = s.output_height() * s.output_width();
  T* const parts = workspace<T, Add>(pieces * size);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    T* const sums = parts + piece * size;
    LongSum<T, Add> images_sum;
    images_sum.begin(sums, 1, size, size);
    for (int64_t n = piece * images; n < std::min(s.batch, (piece + 1) * images); ++n) {
      images_sum.next();
      add(n, sums);
      if (!db) continue;
      for (int64_t o = 0; o < s.out_channels; ++o)
        sums[weights + o] += static_cast<T>(
            kernels<ReduceKernels<T>>().sum(plane, dy + (n * s.out_channels + o) * plane));
    }
    images_sum.finish();
  });
  const auto add_up = [&](int64_t from, int64_t count, T* to) {
    std::fill_n(to, count, T(0));
    for (int64_t piece = 0; piece < pieces; ++piece)
      for (int64_t i = 0; i < count; ++i) to[i] += parts[piece * size + from + i];
  };
  add_up(0, weights, dw);
  if (db) add_up(weights, s.out_channels, db);
}

}  // namespace gradus::kernels
