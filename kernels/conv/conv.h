#pragma once
#include <cstdint>

namespace gradus::kernels {

/// The sizes of a 2-D convolution: x (N, Cin, H, W), w (Cout, Cin / groups, KH, KW) -> y (N, Cout,
/// OH, OW). Group g of the output channels sees group g of the input channels alone.
struct Conv2dShape {
  int64_t batch = 1, in_channels = 1, height = 1, width = 1;
  int64_t out_channels = 1, kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  /// OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1, and likewise OW; below 1 where the
  /// kernel is larger than the padded input.
  int64_t output_height() const;
  int64_t output_width() const;

  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  int64_t x_size() const { return batch * in_channels * height * width; }
  int64_t w_size() const { return out_channels * group_in() * kernel_h * kernel_w; }
  int64_t y_size() const { return batch * out_channels * output_height() * output_width(); }
};

/// Throws Error, beginning with `op`, where the sizes do not make a convolution with a non-empty
/// output (an empty batch is one).
void check_conv2d(const char* op, const Conv2dShape& shape);

/// pointwise: 1x1, stride 1, no padding, is a matrix product as it stands. im2col: patches are
/// written out, then multiplied. direct: stride 1, patches are multiplied where they lie. winograd:
/// 3x3, stride 1, with a quarter of the multiplications.
///
/// The last two are for f32.
enum class ConvPath { automatic, pointwise, im2col, direct, winograd };

/// Every path keeps to this: with max|x| the largest that an output sees, in any channel of its
/// group, and |w| summed over its weights, what f32 gives is off by at most kConvError max|x|
/// sum|w| and the rounding of the result. dx alike with dy; dw by max|x_c| sum|dy_o|, the two taken
/// over the whole batch. Products below 2^-126 may each lose 2^-149 more. Where an output sees
/// zeros alone and the weights are finite, it is the bias exactly (0 in dx); an infinity or a NaN
/// reaches those who see it and no others. winograd computes by plain sums what its transforms
/// could not hold to that.
constexpr double kConvError = 0x1p-12;

const char* name(ConvPath path);

/// The path that `automatic` takes.
template <class T>
ConvPath conv_path(const Conv2dShape& shape);
/// Whether `path` can serve `shape` (forcing one that cannot throws Error).
bool applies(ConvPath path, const Conv2dShape& shape);

// The three are closed under differentiation: each is bilinear, and its gradients are the other
// two. All overwrite their result, for float and double, with the same bits on any number of
// threads. Scratch memory is thread-local and grows to what the largest shape so far needed: a
// repeated shape allocates nothing.

/// y[n,o,i,j] = bias[o] + sum_{c,p,q} w[o,c,p,q] x[n,c, i stride - padding + p dilation, ...], x
/// being 0 outside; bias (Cout) may be null.
template <class T>
void conv2d(const Conv2dShape& shape, const T* x, const T* w, const T* bias, T* y,
            ConvPath path = ConvPath::automatic);
/// dx = the gradient of <conv2d(x, w), dy> with respect to x: the transposed convolution of dy.
template <class T>
void conv2d_input(const Conv2dShape& shape, const T* dy, const T* w, T* dx,
                  ConvPath path = ConvPath::automatic);
/// dw = the gradient of <conv2d(x, w), dy> with respect to w; and, if db is not null, db (Cout) =
/// the bias' gradient, sum_{n,i,j} dy[n,o,i,j].
template <class T>
void conv2d_weight(const Conv2dShape& shape, const T* x, const T* dy, T* dw, T* db = nullptr,
                   ConvPath path = ConvPath::automatic);

}  // namespace gradus::kernels
