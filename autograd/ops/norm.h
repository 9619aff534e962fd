#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/autograd/tape.h>

namespace gradus {

// x^ = (x - mean) / sqrt(var + eps), y = activation(x^ weight + bias). The two norms differ in what
// mean and variance (biased) are taken over. Weight and bias may be left out. Where `valid` (bool)
// is false, x is not read, enters neither statistics nor gradients, and y is 0.

/// What layer_norm takes beside its tensors.
struct LayerNormOptions {
  double eps = 1e-5;  ///< inside the root
  Tensor valid = {};  ///< (...), x's shape without the normalized axes; none: all
  Activation activation = Activation::none;  ///< of the result
};

/// Layer Normalization (Ba et al. 2016, equation 3): over the trailing axes, each position by
/// itself. x, y: (..., normalized_shape)   weight, bias: normalized_shape
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, const LayerNormOptions& options = {});

/// Which axis has the channels: (N, C, ...) or (..., C).
enum class ChannelAxis { second, last };

/// What batch_norm takes beside its tensors.
struct BatchNormOptions {
  double eps = 1e-5;                         ///< inside the root
  ChannelAxis axis = ChannelAxis::second;    ///< x is (N, C, ...) or (..., C)
  Tensor valid = {};                         ///< x's shape without the channels; none: all
  Activation activation = Activation::none;  ///< of the result
};

/// What batch_norm gives.
struct BatchNormResult {
  Tensor y;          ///< like x
  Tensor mean, var;  ///< (C), var biased; constants to the tape
  int64_t count;     ///< values a channel had
};

/// Batch Normalization in training (Ioffe & Szegedy 2015, algorithm 1): over all axes but the
/// channels'.
///
/// x, y: (N, C, ...) or (..., C)   weight, bias: (C)
///
/// Errors: fewer than two values a channel; a mask that leaves nothing.
BatchNormResult batch_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                           const BatchNormOptions& options = {});

/// Batch Normalization in evaluation: mean and var are given and constants. (C) each.
Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var,
                            const Tensor& weight = {}, const Tensor& bias = {},
                            const BatchNormOptions& options = {});

}  // namespace gradus
