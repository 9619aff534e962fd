#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/tape.h>
#include <gradus/training/metrics.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace gradus {

namespace {

const int64_t kIgnored = CrossEntropyOptions().ignore_index;

void check_classes(const char* what, const char* argument, const Tensor& x) {
  check(x && x.dtype() == DType::i64, "{}: {} are {}, must be i64", what, argument,
        x ? name(x.dtype()) : "an empty Tensor");
}

double ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }

double share_of(const char* what, int64_t part, int64_t counted) {
  check(counted > 0, "{}: no label counts", what);
  return static_cast<double>(part) / static_cast<double>(counted);
}

/// f(predicted, label) of each label that counts.
template <class F>
void each_pair(const char* what, const Tensor& predicted, const Tensor& labels, F f) {
  check_classes(what, "predicted classes", predicted);
  check_classes(what, "labels", labels);
  check(predicted.shape() == labels.shape(),
        "{}: predicted classes are {}, labels {}; of logits (N, C), argmax(logits, 1) predicts",
        what, predicted.shape(), labels.shape());
  const auto p = predicted.to_vector<int64_t>(), t = labels.to_vector<int64_t>();
  for (size_t i = 0; i < t.size(); ++i)
    if (t[i] != kIgnored) f(p[i], t[i]);
}

void check_class(const char* what, const char* argument, int64_t value, int64_t classes) {
  check(value >= 0 && value < classes, "{}: {} {} is no class of {}", what, argument, value,
        classes);
}

}  // namespace

double accuracy(const Tensor& predicted, const Tensor& labels) {
  int64_t right = 0, counted = 0;
  each_pair("accuracy", predicted, labels, [&](int64_t p, int64_t t) {
    right += p == t;
    ++counted;
  });
  return share_of("accuracy", right, counted);
}

double top_k_accuracy(const Tensor& scores, const Tensor& labels, int64_t k) {
  check_classes("top_k_accuracy", "labels", labels);
  check(scores && is_floating(scores.dtype()) && scores.ndim() == 2 && labels.ndim() == 1 &&
            labels.size(0) == scores.size(0),
        "top_k_accuracy: scores are {}, must be floating (N, C) for labels {}",
        scores ? str(scores.shape()) : "an empty Tensor", labels.shape());
  const int64_t classes = scores.size(1);
  check(k > 0 && k <= classes, "top_k_accuracy: k is {} of {} classes", k, classes);
  const auto values = scores.to_vector<double>();
  const auto t = labels.to_vector<int64_t>();
  // As argmax has it: NaN is the largest.
  const auto larger = [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a > b; };
  int64_t right = 0, counted = 0;
  for (size_t i = 0; i < t.size(); ++i) {
    if (t[i] == kIgnored) continue;
    check_class("top_k_accuracy", "label", t[i], classes);
    const double* const row = values.data() + i * static_cast<size_t>(classes);
    int64_t before = 0;  // in the order of their scores
    for (int64_t c = 0; c < classes; ++c)
      before += larger(row[c], row[t[i]]) || (c < t[i] && !larger(row[t[i]], row[c]));
    right += before < k;
    ++counted;
  }
  return share_of("top_k_accuracy", right, counted);
}

Tensor confusion_matrix(const Tensor& predicted, const Tensor& labels, int64_t classes) {
  check(classes > 0, "confusion_matrix: {} classes", classes);
  Tensor counts = zeros({classes, classes}, DType::i64);
  int64_t* const to = counts.mutable_data<int64_t>();
  each_pair("confusion_matrix", predicted, labels, [&](int64_t p, int64_t t) {
    check_class("confusion_matrix", "label", t, classes);
    check_class("confusion_matrix", "predicted", p, classes);
    ++to[t * classes + p];
  });
  return counts;
}

namespace {

PrecisionRecallF1 scores_of(double tp, double fp, double fn) {
  return {ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)};
}

/// f(tp, fp, fn) of each class.
template <class F>
void each_class(const Tensor& confusion, F f) {
  check_classes("precision_recall_f1", "the counts of a confusion matrix", confusion);
  check(confusion.ndim() == 2 && confusion.size(0) == confusion.size(1) && confusion.size(0) > 0,
        "precision_recall_f1: a confusion matrix is (C, C), not {}", confusion.shape());
  const auto counts = confusion.to_vector<int64_t>();
  const auto classes = static_cast<size_t>(confusion.size(0));
  for (size_t c = 0; c < classes; ++c) {
    double predicted = 0, there = 0;
    for (size_t other = 0; other < classes; ++other) {
      predicted += static_cast<double>(counts[other * classes + c]);
      there += static_cast<double>(counts[c * classes + other]);
    }
    const auto tp = static_cast<double>(counts[c * classes + c]);
    f(tp, predicted - tp, there - tp);
  }
}

}  // namespace

std::vector<PrecisionRecallF1> precision_recall_f1(const Tensor& confusion) {
  std::vector<PrecisionRecallF1> result;
  each_class(confusion,
             [&](double tp, double fp, double fn) { result.push_back(scores_of(tp, fp, fn)); });
  return result;
}

PrecisionRecallF1 precision_recall_f1(const Tensor& confusion, Average average) {
  if (average == Average::micro) {
    double all_tp = 0, all_fp = 0, all_fn = 0;
    each_class(confusion, [&](double tp, double fp, double fn) {
      all_tp += tp;
      all_fp += fp;
      all_fn += fn;
    });
    return scores_of(all_tp, all_fp, all_fn);
  }
  const std::vector<PrecisionRecallF1> classes = precision_recall_f1(confusion);
  PrecisionRecallF1 mean{0, 0, 0};
  const auto n = static_cast<double>(classes.size());
  for (const auto& [precision, recall, f1] : classes) {
    mean.precision += precision / n;
    mean.recall += recall / n;
    mean.f1 += f1 / n;
  }
  return mean;
}

double r2_score(const Tensor& predicted, const Tensor& targets) {
  check(predicted && targets && is_floating(predicted.dtype()) && is_floating(targets.dtype()) &&
            predicted.shape() == targets.shape() && (targets.ndim() == 1 || targets.ndim() == 2),
        "r2_score: predicted is {}, targets {}, must be floating, (N) or (N, outputs)",
        predicted ? str(predicted.shape()) : "an empty Tensor",
        targets ? str(targets.shape()) : "an empty Tensor");
  const auto n = static_cast<size_t>(targets.size(0)),
             outputs = targets.ndim() == 1 ? 1 : static_cast<size_t>(targets.size(1));
  check(n >= 2 && outputs > 0, "r2_score: targets {} do not vary, two or more are needed",
        targets.shape());
  const auto p = predicted.to_vector<double>(), t = targets.to_vector<double>();
  double total = 0;
  for (size_t k = 0; k < outputs; ++k) {
    double mean = t[k], residual = 0, spread = 0;  // exact where all are equal
    for (size_t i = k; i < t.size(); i += outputs) mean += (t[i] - t[k]) / static_cast<double>(n);
    for (size_t i = k; i < t.size(); i += outputs) {
      residual += (t[i] - p[i]) * (t[i] - p[i]);
      spread += (t[i] - mean) * (t[i] - mean);
    }
    total += spread != 0 ? 1 - residual / spread : residual == 0 ? 1 : 0;
  }
  return total / static_cast<double>(outputs);
}

double roc_auc(const Tensor& scores, const Tensor& labels) {
  check(scores && labels && is_floating(scores.dtype()) && scores.ndim() == 1 &&
            scores.shape() == labels.shape() && !is_floating(labels.dtype()),
        "roc_auc: scores are {}, labels {}, must be floating (N) and i64 or bool (N)",
        scores ? str(scores.shape()) : "an empty Tensor",
        labels ? fmt::format("{} {}", labels.shape(), labels.dtype()) : "an empty Tensor");
  const auto values = scores.to_vector<double>(), t = labels.to_vector<double>();
  std::vector<size_t> order;
  for (size_t i = 0; i < t.size(); ++i) {
    if (t[i] == static_cast<double>(kIgnored)) continue;
    check(t[i] == 0 || t[i] == 1, "roc_auc: label {} is neither 0 nor 1", t[i]);
    check(!std::isnan(values[i]), "roc_auc: score {} is NaN", i);
    order.push_back(i);
  }
  std::ranges::sort(order, {}, [&](size_t i) { return values[i]; });
  // By ranks: equal scores have their mean one.
  double positive = 0, ranks = 0;
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    double here = 0;
    for (; end < order.size() && values[order[end]] == values[order[begin]]; ++end)
      here += t[order[end]];
    positive += here;
    ranks += here * static_cast<double>(begin + end + 1) / 2;
  }
  const double negative = static_cast<double>(order.size()) - positive;
  check(positive > 0 && negative > 0,
        "roc_auc: {} labels are 1 and {} are 0, of one kind there is "
        "no curve",
        positive, negative);
  return (ranks - positive * (positive + 1) / 2) / (positive * negative);
}

double perplexity(const Tensor& logits, const Tensor& labels) {
  const NoRecord pause;
  check(logits && is_floating(logits.dtype()), "perplexity: logits must be floating");
  return std::exp(cross_entropy(raw::cast(logits, DType::f64), labels).item());
}

}  // namespace gradus
