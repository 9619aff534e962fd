#pragma once
#include <gradus/autograd/tape.h>
#include <gradus/kernels/softmax/softmax.h>

namespace gradus {

/// What becomes of the single losses: their mean, their sum, or nothing.
using Reduction = kernels::Reduction;

struct CrossEntropyOptions {
  double label_smoothing = 0;   ///< s below, in [0, 1]
  int64_t ignore_index = -100;  ///< labels that count for nothing
  Tensor weight = {};           ///< w below, one for each class; ones if empty. A constant.
  Reduction reduction = Reduction::mean;
};

/// l = -(1 - s) w_t log p_t - s / C sum_c w_c log p_c, p = softmax(logits) over the classes, t the
/// label; the mean divides by the total of w_t. As PyTorch's, but all labels being ignored is an
/// error for the mean, not NaN.
/// logits: (N, C, ...)   labels: (N, ...), i64   y: a scalar, or (N, ...) if not reduced
Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options = {});

// The others take two tensors of one shape, and differentiate with respect to both.

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
