#pragma once
#include <gradus/autograd/ops/loss.h>

namespace gradus {

/// What nll_loss() makes of the labels and of the single losses.
struct NllLossOptions {
  int64_t ignore_index = -100;  ///< labels that count for nothing
  Tensor weight = {};           ///< w below, one for each class; ones if empty. A constant.
  Reduction reduction = Reduction::mean;  ///< of the rows' losses
};

/// l = -w_t x_t, x being logarithms of probabilities (log_softmax) and t the label; the mean
/// divides by the total of w_t. As cross_entropy in shapes, errors and what an ignored label leaves
/// out.
Tensor nll_loss(const Tensor& x, const Tensor& labels, const NllLossOptions& options = {});

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
///
/// Or l = -sum_c w_c ((1 - s) q_c + s / C) log p_c where the labels are probabilities q of the
/// classes, for mixup and distillation; the mean divides by the number of rows, and no label is
/// ignored. Where q_c and p_c are 0 the class has no part in it.
///
/// logits: (N, C, ...), or (C) of one row   labels: (N, ...), i64, or the logits' shape and dtype
/// y: a scalar, or (N, ...) if not reduced
Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options = {});

}  // namespace gradus
