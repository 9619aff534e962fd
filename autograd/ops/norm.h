#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// x^ = (x - mean) / sqrt(var + eps), y = x^ weight + bias. The two norms differ in what mean and
// variance (biased) are taken over. Weight and bias may be left out. Where `valid` (bool) is false,
// x is not read, enters neither statistics nor gradients, and y is 0.

/// Layer Normalization (Ba et al. 2016, equation 3): over the trailing axes, each position by
/// itself. x, y: (..., normalized_shape)   weight, bias: normalized_shape   valid: (...)
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5, const Tensor& valid = {});

enum class ChannelAxis { second, last };

struct BatchNormResult {
  Tensor y;
  Tensor mean, var;  ///< (C), var biased; constants to the tape
  int64_t count;     ///< values a channel had
};

/// Batch Normalization in training (Ioffe & Szegedy 2015, algorithm 1): over all axes but the
/// channels'.
///
/// x, y: (N, C, ...) or (..., C)   weight, bias: (C)   valid: x's shape without the channels
///
/// Errors: fewer than two values a channel; a mask that leaves nothing.
BatchNormResult batch_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                           double eps = 1e-5, ChannelAxis axis = ChannelAxis::second,
                           const Tensor& valid = {});

/// The same with relu(y) for y, in one op.
BatchNormResult batch_norm_relu(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                                double eps = 1e-5, ChannelAxis axis = ChannelAxis::second,
                                const Tensor& valid = {});

/// Batch Normalization in evaluation: mean and var are given and constants. (C) each.
Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var,
                            const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5,
                            ChannelAxis axis = ChannelAxis::second, const Tensor& valid = {});

}  // namespace gradus
