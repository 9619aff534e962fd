#pragma once
#include <gradus/autograd/ops/loss.h>

namespace gradus {

/// What cross_entropy() makes of the labels and of the single losses.
struct CrossEntropyOptions {
  double label_smoothing = 0;   ///< s below, in [0, 1]
  int64_t ignore_index = -100;  ///< labels that count for nothing
  Tensor weight = {};           ///< w below, one for each class; ones if empty. A constant.
  Reduction reduction = Reduction::mean;  ///< of the rows' losses
};

/// l = -(1 - s) w_t log p_t - s / C sum_c w_c log p_c, p = softmax(logits) over the classes, t the
/// label; the mean divides by the total of w_t. As PyTorch's, but all labels being ignored is an
/// error for the mean, not NaN. What the logits of an ignored label hold has no influence.
/// logits: (N, C, ...)   labels: (N, ...), i64   y: a scalar, or (N, ...) if not reduced
Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options = {});

}  // namespace gradus
