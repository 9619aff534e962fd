#include <gradus/base/error.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/streamed.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/kernels/softmax/softmax.h>
#include <gradus/kernels/softmax/table.h>

#include <algorithm>
#include <numeric>

namespace gradus::kernels {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements that a thread takes at a time

/// Returns the total weight of the labels.
template <class T>
double check_labels(int64_t rows, int64_t classes, const int64_t* labels, const T* w,
                    int64_t ignore_index) {
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = labels[i];
    if (t == ignore_index) continue;
    check(t >= 0 && t < classes,
          "cross_entropy: label {} of row {} is not in [0, {}) for {} classes, nor ignore_index {}",
          t, i, classes, classes, ignore_index);
    total += w ? static_cast<double>(w[t]) : 1.0;
  }
  return total;
}

}  // namespace

template <class T>
void softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().softmax;
  parallel_for_rows(rows, d, kGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, nullptr, x + i * d, y + i * d, streamed<T>(rows * d));
  });
}

template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_softmax;
  parallel_for_rows(rows, d, kGrain,
                    [&](int64_t i, int64_t end) { kernel(end - i, d, x + i * d, y + i * d); });
}

template <class T>
void logsumexp(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_sums;
  static constinit thread_local Workspace<T, struct Shift> workspace;
  T* shift = workspace.of_size(rows);
  parallel_for_rows(rows, d, kGrain, [&](int64_t begin, int64_t end) {
    kernel(end - begin, d, x + begin * d, shift + begin, y + begin);
    for (int64_t i = begin; i < end; ++i) y[i] += shift[i];
  });
}

template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  const auto kernel = kernels<SoftmaxKernels<T>>().softmax_backward;
  parallel_for_rows(rows, d, kGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, y + i * d, dy + i * d, dx + i * d, streamed<T>(rows * d));
  });
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_softmax_backward;
  parallel_for_rows(rows, d, kGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, y + i * d, dy + i * d, dx + i * d);
  });
}

template <class T>
double cross_entropy(int64_t rows, int64_t classes, const T* x, const int64_t* labels, const T* w,
                     const CrossEntropyOptions& options, T* loss) {
  const SoftmaxKernels<T>& table = kernels<SoftmaxKernels<T>>();
  const double total = check_labels(rows, classes, labels, w, options.ignore_index);
  const double smoothing = options.label_smoothing,
               share = smoothing / static_cast<double>(classes);
  double sum_w = static_cast<double>(classes);
  if (w) sum_w = std::accumulate(w, w + classes, 0.0);
  static constinit thread_local Workspace<T, struct Shift> workspace;
  static constinit thread_local Workspace<double, struct Losses> loss_workspace;
  T *shift = workspace.of_size(2 * rows), *log_sum = shift + rows;
  double* losses = loss_workspace.of_size(rows);
  parallel_for_rows(rows, classes, kGrain, [&](int64_t begin, int64_t end) {
    table.log_sums(end - begin, classes, x + begin * classes, shift + begin, log_sum + begin);
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * classes;
      const int64_t t = labels[i];
      losses[i] = 0;
      if (t == options.ignore_index) continue;
      const auto rest = static_cast<double>(log_sum[i]);
      const double wt = w ? static_cast<double>(w[t]) : 1.0;
      losses[i] = (1 - smoothing) * wt * (rest - static_cast<double>(row[t] - shift[i]));
      if (smoothing != 0)
        losses[i] += share * (sum_w * rest - table.weighted_sum(classes, shift[i], w, row));
    }
  });
  if (options.reduction == Reduction::none) {
    for (int64_t i = 0; i < rows; ++i) loss[i] = static_cast<T>(losses[i]);
  } else {
    const double sum = std::accumulate(losses, losses + rows, 0.0);
    *loss = static_cast<T>(options.reduction == Reduction::mean ? sum / total : sum);
  }
  return total;
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                            const T* w, const CrossEntropyOptions& options, double total_weight,
                            const T* dloss, T* dx) {
  const SoftmaxKernels<T>& table = kernels<SoftmaxKernels<T>>();
  const double smoothing = options.label_smoothing,
               share = smoothing / static_cast<double>(classes);
  double sum_w = static_cast<double>(classes);
  if (w) sum_w = std::accumulate(w, w + classes, 0.0);
  const auto weight_of = [&](int64_t i) {  // of the row's own label
    return (1 - smoothing) * (w ? static_cast<double>(w[labels[i]]) : 1.0);
  };
  const bool each = options.reduction == Reduction::none;
  const double all = each || rows == 0 ? 0.0
                     : options.reduction == Reduction::mean
                         ? static_cast<double>(*dloss) / total_weight
                         : static_cast<double>(*dloss);
  const auto g = [&](int64_t i) { return each ? static_cast<double>(dloss[i]) : all; };
  static constinit thread_local Workspace<T, struct Scale> workspace;
  T* scale = workspace.of_size(rows);
  parallel_for_rows(rows, classes, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      scale[i] = labels[i] == options.ignore_index
                     ? T(0)
                     : static_cast<T>(g(i) * (weight_of(i) + share * sum_w));
    table.softmax(end - begin, classes, scale + begin, x + begin * classes, dx + begin * classes,
                  false);
    for (int64_t i = begin; i < end; ++i) {
      T* row = dx + i * classes;
      if (labels[i] == options.ignore_index) {
        std::fill_n(row, classes, T(0));  // also where x is NaN
        continue;
      }
      if (smoothing != 0) table.subtract(classes, static_cast<T>(g(i) * share), w, row);
      row[labels[i]] -= static_cast<T>(g(i) * weight_of(i));
    }
  });
}

GRADUS_INSTANTIATE(softmax<T>, log_softmax<T>, logsumexp<T>, softmax_backward<T>,
                   log_softmax_backward<T>, cross_entropy<T>, cross_entropy_backward<T>)

}  // namespace gradus::kernels
