#pragma once
#include <gradus/autograd/tape.h>

#include <concepts>

namespace gradus {

/// One number for each of height and width. An integer stands for both.
struct Pair {
  constexpr Pair(int64_t height, int64_t width) : h(height), w(width) {}  ///< each its own
  template <std::integral T>
  requires(!std::same_as<T, bool>) constexpr Pair(T both)
      : Pair(static_cast<int64_t>(both), static_cast<int64_t>(both)) {}  ///< one for both
  int64_t h, w;                                                          ///< height's, width's
};

/// How a convolution and its gradients are computed. All keep to the bound that conv2d tells; they
/// differ in speed and in their last bits.
enum class ConvAlgorithm {
  automatic,  ///< by shape, what was measured to be fastest (docs/decisions/convolution_paths.md)
  im2col,     ///< patches are written out and multiplied: any shape, f32 and f64
  direct,     ///< plain sums of patches where they lie: stride 1, f32
  winograd    ///< a quarter of the products (Lavin & Gray 2016): 3x3, stride 1, f32
};

/// How a convolution's windows lie.
struct Conv2dOptions {
  Pair stride = {1, 1};    ///< pixels from a window to the next
  Pair padding = {0, 0};   ///< zeros around the image, on each side
  Pair dilation = {1, 1};  ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;  ///< group g of the output channels sees group g of the input channels alone
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;  ///< an error if it cannot serve the shape
};

/// y[n,o,i,j] = bias[o] + sum_{c,p,q} weight[o,c,p,q] x[n, c, i stride - padding + p dilation,
/// ...], x being 0 outside.
///
/// x: (N, Cin, H, W)   weight: (Cout, Cin / groups, KH, KW)   bias: (Cout)
///
/// y: (N, Cout, H', W'), H' = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1
///
/// In f32, by every algorithm, an output is off by at most 2^-12 of the largest |x| that it sees,
/// in any channel of its group, times the sum of |weight| of its channel, beside the rounding of
/// the result; where it sees zeros alone it is bias[o] exactly, and an infinity or a NaN reaches
/// the outputs that see it and no others. x's gradient alike, with dy; the weight's is off by at
/// most 2^-12 max|x_c| sum|dy_o|, over the whole batch (docs/decisions/convolution_errors.md).
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

}  // namespace gradus
