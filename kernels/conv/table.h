#pragma once
#include <cstdint>

namespace gradus::kernels {

/// A correlation with stride 1 over one image: y[o][i][j] = sum_k w[o][k] x[offset_k + i row + j],
/// x being padded and a tap k being one place in the kernel for one input channel. A vector may be
/// read at any such place, and beyond the last by less than a vector.
struct DirectShape {
  int64_t outs, taps, height, width;  // of y (outs, height, width); w: (outs, taps)
  const int64_t* offsets;
  int64_t row;
};

struct ConvDirectKernels {
  int64_t width;  // of a vector, in floats

  /// y, plus bias[o]; bias may be null. False where y may not be finite.
  bool (*forward)(const DirectShape& s, const float* x, const float* w, const float* bias,
                  float* y);
  /// dw[o][k] += sum_ij dy[o][i][j] x[offset_k + i row + j]
  void (*weight)(const DirectShape& s, const float* x, const float* dy, float* dw);
};

/// 36 matrices, one for each point of a transformed 6x6 tile, `point` floats apart, with rows of
/// `row` floats, a multiple of kChannels.
template <class T>
struct Points {
  T* data;
  int64_t row, point;
  operator Points<const T>() const { return {data, row, point}; }
};

/// The channels that are transformed together: those of a cache line.
constexpr int64_t kChannels = 16;

/// Adjacent tiles of 4x4 in one row of tiles of an image (channels <= kChannels, height, width):
/// the first one begins at (top, left); what lies outside the image is 0.
struct TileRun {
  int64_t channels, height, width;
  int64_t top, left, tiles;
};

/// How many of a run's rows and columns of outputs lie in their image, at least one each.
struct Outputs {
  int64_t rows, columns;
};

/// At most this many tiles in a run, so that a strip of them stays in the first cache.
constexpr int64_t kMaxRun = 16;
/// The pixels that such a run sees, and room for vectors behind them.
constexpr int64_t kSeenPixels = 6 * (4 * kMaxRun + 2) + 64;

/// How far what an output sees may lie below its tile's largest pixel: 2^-near, 2^-apart, or more.
enum class Reach { near, apart, hostile };

/// The transforms of Winograd's F(4x4, 3x3); what A, B and G are stands in winograd.simd.cc.
/// Row t of v and m belongs to the run's tile t.
struct WinogradKernels {
  int64_t width;  // of a vector, in floats

  /// Marks, in one bit each, row after row, those of tile t's 4x4 outputs that see nothing but
  /// zeros in the run's channels, all of the group: zero[t]; and those that Winograd does not
  /// serve, since what they see is less than 2^-apart of the tile's largest pixel, or that is too
  /// large or this too small: hostile[t]. Tells the worst that was found. `pixels` are kSeenPixels
  /// of memory that stay from run to run: one that lies right below the last reads its first two
  /// rows there.
  Reach (*inspect)(const TileRun& run, const Outputs& outputs, const float* x, bool below, int near,
                   int apart, int32_t* pixels, uint16_t* zero, uint16_t* hostile);
  /// v[t] = B^T x B, x being the 6x6 pixels from the tile's first on.
  void (*input)(const TileRun& run, const float* x, Points<float> v);
  /// y = A^T m[t] A + bias for the tile's 4x4 pixels, the bias alone where zero[t] says so; bias
  /// may be null.
  void (*output)(const TileRun& run, Points<const float> m, const float* bias, const uint16_t* zero,
                 float* y);
  /// m[t] = A dy A^T for the tile's 4x4 pixels, output's adjoint; db += sum dy.
  void (*output_gradient)(const TileRun& run, const float* dy, Points<float> m, float* db);
  /// u[o] = G w G^T for w(o) = the 3x3 weights from w + o * stride on, rotated by half a turn if
  /// `rotated`. False if one is so large or small, or not finite, that products of u with what
  /// inspect lets pass might be, too.
  bool (*weight)(int64_t out, const float* w, int64_t stride, bool rotated, Points<float> u);
  /// dw[k][c] = G^T u[c] G for the 3x3 k, rows of dw being u.row floats long: weight's adjoint.
  void (*weight_gradient)(int64_t channels, Points<const float> u, float* dw);
  /// dw[c][k] = the sum of `pieces` of what weight_gradient gives, `stride` floats apart.
  void (*sum_weight_gradients)(int64_t channels, int64_t pieces, const float* parts, int64_t row,
                               int64_t stride, float* dw);
};

}  // namespace gradus::kernels
