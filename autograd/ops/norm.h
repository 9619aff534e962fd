#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/autograd/tape.h>

#include <optional>

namespace gradus {

// x^ = (x - mean) / sqrt(var + eps), y = activation(x^ weight + bias). The norms differ in what
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

/// What rms_norm takes beside its tensors.
struct RmsNormOptions {
  std::optional<double> eps = {};  ///< inside the root; none: the machine epsilon of x's dtype
  Tensor valid = {};               ///< (...), x's shape without the normalized axes; none: all
};

/// Root Mean Square Layer Normalization (Zhang & Sennrich 2019, equation 4): over the trailing
/// axes, each position by itself, y = x / sqrt(mean(x^2) + eps) weight. x, y: (...,
/// normalized_shape)   weight: normalized_shape
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                const RmsNormOptions& options = {});

/// What group_norm takes beside its tensors.
struct GroupNormOptions {
  double eps = 1e-5;                         ///< inside the root
  Tensor valid = {};                         ///< (N): which samples are there; none: all
  Activation activation = Activation::none;  ///< of the result
};

/// Group Normalization (Wu & He 2018, section 3): each sample by itself, over all positions of each
/// of `groups` groups of neighbouring channels. One group: layer_norm of a sample with a weight a
/// channel; as many as channels: Instance Normalization (Ulyanov et al. 2016).
///
/// x, y: (N, C, ...)   weight, bias: (C)
///
/// Errors: groups that do not divide the channels or have one value, of which 0 would be left.
Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight = {},
                  const Tensor& bias = {}, const GroupNormOptions& options = {});

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
