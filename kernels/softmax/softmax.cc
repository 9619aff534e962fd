#include <gradus/base/error.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/streamed.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/kernels/softmax/softmax.h>
#include <gradus/kernels/softmax/table.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gradus::kernels {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

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

/// What a row's loss aims at: (1 - s) w_t for its own label, s / C w_c for every class.
template <class T>
struct Targets {
  Targets(int64_t classes, const int64_t* row_labels, const T* class_weights,
          const CrossEntropyOptions& options)
      : labels(row_labels),
        w(class_weights),
        ignore_index(options.ignore_index),
        smoothing(options.label_smoothing),
        share(smoothing / static_cast<double>(classes)),
        sum_w(smoothing == 0 ? 0
              : w            ? std::accumulate(w, w + classes, 0.0)
                             : static_cast<double>(classes)) {}
  bool ignored(int64_t i) const { return labels[i] == ignore_index; }
  double own(int64_t i) const {
    return (1 - smoothing) * (w ? static_cast<double>(w[labels[i]]) : 1.0);
  }
  const int64_t* labels;
  const T* w;
  int64_t ignore_index;
  double smoothing, share;
  double sum_w;  ///< 0 without smoothing: a class that no label names has no influence
};

}  // namespace

template <class T>
void softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().softmax;
  parallel_for_rows(rows, d, kFunctionGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, nullptr, x + i * d, y + i * d, streamed<T>(rows * d));
  });
}

template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_softmax;
  parallel_for_rows(rows, d, kFunctionGrain,
                    [&](int64_t i, int64_t end) { kernel(end - i, d, x + i * d, y + i * d); });
}

template <class T>
void logsumexp(int64_t rows, int64_t d, const T* x, T* y) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_sums;
  T* shift = workspace<T, struct Shift>(rows);
  parallel_for_rows(rows, d, kFunctionGrain, [&](int64_t begin, int64_t end) {
    kernel(end - begin, d, x + begin * d, shift + begin, y + begin);
    for (int64_t i = begin; i < end; ++i) y[i] += shift[i];
  });
}

template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  const auto kernel = kernels<SoftmaxKernels<T>>().softmax_backward;
  parallel_for_rows(rows, d, kFunctionGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, y + i * d, dy + i * d, dx + i * d, streamed<T>(rows * d));
  });
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  const auto kernel = kernels<SoftmaxKernels<T>>().log_softmax_backward;
  parallel_for_rows(rows, d, kFunctionGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, d, y + i * d, dy + i * d, dx + i * d);
  });
}

template <class T>
CrossEntropyTotals cross_entropy(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                                 const T* w, const CrossEntropyOptions& options, T* loss) {
  const SoftmaxKernels<T>& table = kernels<SoftmaxKernels<T>>();
  const double weight = check_labels(rows, classes, labels, w, options.ignore_index);
  const Targets<T> target(classes, labels, w, options);
  T *shift = workspace<T, struct Shift>(2 * rows), *log_sum = shift + rows;
  double* losses = workspace<double, struct Losses>(rows);
  parallel_for_rows(rows, classes, kFunctionGrain, [&](int64_t begin, int64_t end) {
    table.log_sums(end - begin, classes, x + begin * classes, shift + begin, log_sum + begin);
    for (int64_t i = begin; i < end; ++i) {
      losses[i] = 0;
      if (target.ignored(i)) continue;
      const T* row = x + i * classes;
      const double rest = std::isfinite(log_sum[i]) ? static_cast<double>(log_sum[i]) : kNan;
      const double below = 0.5 * static_cast<double>(shift[i]) -  // half, which T holds
                           0.5 * static_cast<double>(row[labels[i]]);
      losses[i] = 2 * (target.own(i) * (0.5 * rest + below));
      if (target.smoothing != 0)
        losses[i] +=
            target.share * (target.sum_w * rest - table.weighted_sum(classes, shift[i], w, row));
    }
  });
  for (int64_t i = 0; i < rows && loss; ++i) loss[i] = static_cast<T>(losses[i]);
  return {std::accumulate(losses, losses + rows, 0.0), weight};
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                            const T* w, const CrossEntropyOptions& options,
                            const LossGradient<T>& g, T* dx) {
  const SoftmaxKernels<T>& table = kernels<SoftmaxKernels<T>>();
  const Targets<T> target(classes, labels, w, options);
  const double all = g.each || rows == 0 ? 0.0 : static_cast<double>(*g.dloss) / g.divisor;
  const auto g_of = [&](int64_t i) {
    return g.each ? static_cast<double>(g.dloss[i]) / g.divisor : all;
  };
  const auto scale_of = [&](int64_t i) {
    return g_of(i) * (target.own(i) + target.share * target.sum_w);
  };
  // T's product of it and a probability may be finite where it is not.
  const auto overflows = [&](int64_t i) { return !std::isfinite(static_cast<T>(scale_of(i))); };
  T* scale = workspace<T, struct Scale>(rows);
  parallel_for_rows(rows, classes, kFunctionGrain, [&](int64_t begin, int64_t end) {
    bool hostile = false;
    for (int64_t i = begin; i < end; ++i) {
      scale[i] = target.ignored(i) ? T(0) : static_cast<T>(scale_of(i));
      if (!std::isfinite(scale[i])) scale[i] = 1, hostile = true;
    }
    table.softmax(end - begin, classes, scale + begin, x + begin * classes, dx + begin * classes,
                  false);
    for (int64_t i = begin; i < end; ++i) {
      T* row = dx + i * classes;
      if (target.ignored(i)) {
        std::fill_n(row, classes, T(0));  // also where x is NaN
        continue;
      }
      // As sum dx = 0, an entry of nearly 1 - p of 0 is what the others leave.
      T& own = row[labels[i]];
      const bool own_dominates = std::abs(own) > T(0.75) * std::abs(scale[i]);
      if (hostile && overflows(i)) {
        double others = 0;
        for (int64_t c = 0; c < classes; ++c) {
          const double wanted = target.share * (w ? static_cast<double>(w[c]) : 1.0),
                       v = scale_of(i) * static_cast<double>(row[c]) - g_of(i) * wanted;
          if (&row[c] != &own) {
            row[c] = static_cast<T>(v);
            others += v;
          } else if (!own_dominates) {
            own = static_cast<T>(v - g_of(i) * target.own(i));
          }
        }
        if (own_dominates) own = static_cast<T>(-others);
        continue;
      }
      if (target.smoothing != 0)
        table.subtract(classes, static_cast<T>(g_of(i) * target.share), w, row);
      if (own_dominates) {
        own = 0;
        own = static_cast<T>(-table.sum(classes, row));
      } else {
        own -= static_cast<T>(g_of(i) * target.own(i));
      }
    }
  });
}

template <class T>
void softmax_share(int64_t rows, int64_t classes, const int64_t* labels, const T* w,
                   const CrossEntropyOptions& options, double divisor, T* a) {
  const Targets<T> target(classes, labels, w, options);
  const double smooth = target.smoothing * target.sum_w / static_cast<double>(classes);
  for (int64_t i = 0; i < rows; ++i)
    a[i] = target.ignored(i) ? T(0) : static_cast<T>(1 / divisor * (target.own(i) + smooth));
}

GRADUS_INSTANTIATE(softmax<T>, log_softmax<T>, logsumexp<T>, softmax_backward<T>,
                   log_softmax_backward<T>, cross_entropy<T>, cross_entropy_backward<T>,
                   softmax_share<T>)

}  // namespace gradus::kernels
