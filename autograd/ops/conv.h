#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// One number for each of height and width.
struct Pair {
  int64_t h, w;  ///< height's, width's
};

/// How a convolution's windows lie.
struct Conv2dOptions {
  Pair stride = {1, 1};    ///< pixels from a window to the next
  Pair padding = {0, 0};   ///< zeros around the image, on each side
  Pair dilation = {1, 1};  ///< pixels from a tap of the kernel to the next
  int64_t groups = 1;  ///< group g of the output channels sees group g of the input channels alone
};

/// y[n,o,i,j] = bias[o] + sum_{c,p,q} weight[o,c,p,q] x[n, c, i stride - padding + p dilation,
/// ...], x being 0 outside.
///
/// x: (N, Cin, H, W)   weight: (Cout, Cin / groups, KH, KW)   bias: (Cout)
///
/// y: (N, Cout, H', W'), H' = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1
///
/// In f32 a 3x3 with stride 1 may go Winograd's way (Lavin & Gray 2016): its errors were always
/// below 16 epsilons of |bias[o]| + sum_c max|x[n,c]| sum_pq |weight[o,c,p,q]|.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

}  // namespace gradus
