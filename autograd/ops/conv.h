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
/// "3", or "3x2" where the two differ.
std::string str(Pair pair);

/// Zeros around what a convolution runs over: so many on each side, or as many as make the output
/// as large as the input.
struct Padding : Pair {
  using Pair::Pair;
  /// On each side, along height and along width.
  constexpr Padding(Pair pixels) : Pair(pixels) {}
  /// dilation (kernel - 1) zeros in all, the odd one at the end; for stride 1.
  static constexpr Padding same() {
    Padding padding = 0;
    padding.keeps_size = true;
    return padding;
  }

  bool keeps_size = false;  ///< whether it is same()
};
/// "1", "1x2", or "same".
std::string str(const Padding& padding);

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
  Pair stride = 1;      ///< pixels from a window to the next
  Padding padding = 0;  ///< zeros around the image, on each side
  Pair dilation = 1;    ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;   ///< group g of the output channels sees group g of the input channels alone
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;  ///< an error if it cannot serve the shape
};

/// y[n,o,i,j] = bias[o] + sum_{c,p,q} weight[o,c,p,q] x[n, c, i stride - padding + p dilation,
/// ...], x being 0 outside.
///
/// x: (N, Cin, H, W), or (Cin, H, W)   weight: (Cout, Cin / groups, KH, KW)   bias: (Cout)
///
/// y: (N, Cout, H', W'), or (Cout, H', W'), H' = (H + 2 padding - dilation (KH - 1) - 1) / stride +
/// 1
///
/// In f32, by every algorithm, an output is off by at most 2^-12 of the largest |x| that it sees,
/// in any channel of its group, times the sum of |weight| of its channel, beside the rounding of
/// the result; where it sees zeros alone it is bias[o] exactly, and an infinity or a NaN reaches
/// the outputs that see it and no others. x's gradient alike, with dy; the weight's is off by at
/// most 2^-12 max|x_c| sum|dy_o|, over the whole batch (docs/decisions/convolution_errors.md).
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

/// How a convolution's windows lie along one axis.
struct Conv1dOptions {
  int64_t stride = 1;    ///< steps from a window to the next
  Padding padding = 0;   ///< zeros at each end
  int64_t dilation = 1;  ///< steps from a tap of the kernel to the next
  int64_t groups = 1;    ///< as conv2d's
};

/// conv2d along one axis.
///
/// x: (N, Cin, L), or (Cin, L)   weight: (Cout, Cin / groups, K)   bias: (Cout)
///
/// y: (N, Cout, L'), or (Cout, L'), L' = (L + 2 padding - dilation (K - 1) - 1) / stride + 1
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});

/// How a transposed convolution's windows lie in its output.
struct ConvTranspose2dOptions {
  Pair stride = 1;          ///< pixels from a window to the next
  Pair padding = 0;         ///< what is cut off on each side
  Pair output_padding = 0;  ///< rows and columns more at the end; below stride or dilation
  Pair dilation = 1;        ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;  ///< group g of the output channels sees group g of the input channels alone
};

/// The gradient of conv2d by its input, as a function of its own (Zeiler et al. 2010):
/// y[n, o, i stride - padding + p dilation, ...] += x[n,c,i,j] weight[c,o,p,q], and bias[o].
///
/// x: (N, Cin, H, W), or (Cin, H, W)   weight: (Cin, Cout / groups, KH, KW)   bias: (Cout)
///
/// y: (N, Cout, H', W'), or (Cout, H', W'), H' = (H - 1) stride - 2 padding + dilation (KH - 1) +
/// output_padding + 1. In f32 it keeps to the bound of conv2d's gradient.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});

/// How a transposed convolution's windows lie along one axis.
struct ConvTranspose1dOptions {
  int64_t stride = 1;          ///< steps from a window to the next
  int64_t padding = 0;         ///< what is cut off at each end
  int64_t output_padding = 0;  ///< steps more at the end; below stride or dilation
  int64_t dilation = 1;        ///< steps from a tap of the kernel to the next
  int64_t groups = 1;          ///< as conv_transpose2d's
};

/// conv_transpose2d along one axis.
///
/// x: (N, Cin, L), or (Cin, L)   weight: (Cin, Cout / groups, K)   bias: (Cout)
///
/// y: (N, Cout, L'), or (Cout, L')
Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose1dOptions& options = {});

}  // namespace gradus
