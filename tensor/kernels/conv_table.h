#pragma once
#include <cstdint>

namespace gradus::kernels {

/// A grid of outputs, each the sum of `terms` products: output (n, i, j) reads x[n x_image + i
/// x_row + j + offsets[t]] and stands at out[n out_image + i out_row + j out_column].
template <class T>
struct ConvGrid {
  int64_t images, rows, columns;
  const T* x;
  int64_t x_image, x_row;
  const int64_t* offsets;
  int64_t terms;
  const T* w;
  const T* bias;
  T* out;
  int64_t out_image, out_row, out_column;
};

/// Sums over one image's grid of outputs, one sum for each of `terms` places in the kernel.
template <class T>
struct ConvTaps {
  int64_t rows, columns;
  const T* x;
  int64_t x_row;
  const int64_t* offsets;
  int64_t terms;
  const T* dy;
  int64_t dy_row;
  T* out;
};

/// The loops of convolution for one instruction-set level, on the calling thread.
template <class T>
struct ConvKernels {
  /// Elements in a vector; x must be readable this far beyond its last element.
  int64_t width;
  /// Output channels in the lanes of 1 or 2 vectors: w (terms, lanes), bias (lanes), out points to
  /// lanes.
  void (*channels)(const ConvGrid<T>& grid, int vectors);
  /// Neighbouring pixels in the lanes: w (terms), bias (1), for one output channel.
  void (*pixels)(const ConvGrid<T>& grid);
  /// out[t, lane] += sum_{i,j} x[i x_row + j + offsets[t]] dy[i dy_row + j lanes + lane]
  void (*channels_weight)(const ConvTaps<T>& taps, int vectors);
  /// out[t] += sum_{i,j} x[i x_row + j + offsets[t]] dy[i dy_row + j]
  void (*pixels_weight)(const ConvTaps<T>& taps);
  /// to[p to_row + j] = from[j from_row + p] for j < rows, p < columns.
  void (*transpose)(const T* from, int64_t from_row, int64_t rows, int64_t columns, T* to,
                    int64_t to_row);
};

}  // namespace gradus::kernels
