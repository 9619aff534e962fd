#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// What becomes of the single losses: their mean, their sum, or nothing.
enum class Reduction { none, mean, sum };

// These take two tensors of one shape, and differentiate with respect to both.

/// l = (x - target)^2
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

/// l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - target (Huber 1964).
Tensor huber_loss(const Tensor& x, const Tensor& target, double delta = 1,
                  Reduction reduction = Reduction::mean);

struct BinaryCrossEntropyOptions {
  Tensor weight = {};      ///< w below, broadcast to x; a constant
  Tensor pos_weight = {};  ///< q below, broadcast to x; a constant
  Reduction reduction = Reduction::mean;
};

/// l = -w (q z log p + (1 - z) log(1 - p)), p = sigmoid(x), z the target, from [0, 1]; without
/// overflow.
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target,
                                        const BinaryCrossEntropyOptions& options = {});

}  // namespace gradus
