#pragma once
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/linear.h>

namespace gradus {

// PyTorch's torch.nn.utils.fusion. In evaluation a BatchNorm is an affine map of each channel, so a
// new layer computes both, but for rounding, with s = bn.weight / sqrt(bn.running_var + eps):
//
// weight' = s weight   bias' = s (bias - bn.running_mean) + bn.bias
//
// Errors: a layer or norm that trains (a frozen norm does not), a norm without running statistics
// or of other channels.

/// bn(conv(x)). An error, too: a norm with an activation, which a Conv2d has not, or channels last.
Conv2d fuse_conv_bn_eval(const Conv2d& conv, const BatchNorm& bn);
/// bn(linear(x)), with bn's activation. Of a norm whose channels are axis 1 it takes x (N, in)
/// alone, where that is the last axis; another rank is an error at its forward. An error, too: a
/// Linear with an activation, behind which the norm cannot go.
Linear fuse_linear_bn_eval(const Linear& linear, const BatchNorm& bn);

}  // namespace gradus
