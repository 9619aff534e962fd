#pragma once
#include <gradus/tensor/tensor.h>

#include <vector>

namespace gradus {

// What scikit-learn calls so, computed in f64. predicted and labels are classes 0 .. C - 1, i64;
// predicted is argmax(logits, 1) of a classifier. A label that is cross_entropy's ignore_index,
// -100, does not count. Errors of all: other shapes or dtypes, a label that is no class, nothing
// that counts.

/// The share of labels that are predicted.   predicted, labels: any shape
double accuracy(const Tensor& predicted, const Tensor& labels);

/// The share of labels that are among the k largest scores of their row. Of equal scores the first
/// counts as the largest, as with argmax.   scores: (N, C)   labels: (N)
double top_k_accuracy(const Tensor& scores, const Tensor& labels, int64_t k);

/// How often each class (row) was predicted to be each (column).   predicted, labels: any shape
/// result: (classes, classes) i64
Tensor confusion_matrix(const Tensor& predicted, const Tensor& labels, int64_t classes);

/// Of a class, tp of its items predicted to be it, fp of others, fn of its items not: 0 where the
/// denominator is.
struct PrecisionRecallF1 {
  double precision;  ///< tp / (tp + fp)
  double recall;     ///< tp / (tp + fn)
  double f1;         ///< 2 tp / (2 tp + fp + fn)
};
/// How several classes make one number.
enum class Average {
  macro,  ///< the mean of the classes'
  micro   ///< that of tp, fp and fn added up: where each item has one class, the accuracy
};
/// Each class's.   confusion: (C, C) i64, as confusion_matrix() gives it
std::vector<PrecisionRecallF1> precision_recall_f1(const Tensor& confusion);
/// All classes' together. Macro counts a class without items, too, with 0.
PrecisionRecallF1 precision_recall_f1(const Tensor& confusion, Average average);

/// The coefficient of determination, 1 - sum (t - p)^2 / sum (t - mean(t))^2; where targets are all
/// the same, 1 if they are predicted, else 0. Of several outputs the mean.   predicted, targets:
/// (N) or (N, outputs), floating, N >= 2
double r2_score(const Tensor& predicted, const Tensor& targets);

/// The area under the ROC curve: how likely an item of label 1 has a higher score than one of label
/// 0, half if they are equal (Fawcett 2006). Errors: labels of one kind alone, scores that are NaN.
/// scores: (N) floating   labels: (N) i64 or bool
double roc_auc(const Tensor& scores, const Tensor& labels);

/// exp of the mean cross entropy.   logits: (N, C)   labels: (N)
double perplexity(const Tensor& logits, const Tensor& labels);

}  // namespace gradus
