#pragma once
#include <cstdint>

namespace gradus::kernels {

// What one element that has nearly all of a row's sum leaves to the others is not lost in rounding:
// values and gradients are right to some roundings of themselves, or where signs cancel of the sum
// of magnitudes in their row.

/// y = exp(x) / sum exp(x) in each row; NaN in one that is -inf everywhere, or holds inf or NaN.
/// x, y: (rows, d)
template <class T>
void softmax(int64_t rows, int64_t d, const T* x, T* y);

/// y = log softmax(x) in each row; NaN where softmax is.   x, y: (rows, d)
template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y);

/// y = log sum exp(x) of each row; -inf of one that is -inf everywhere, inf of one that holds inf.
/// x: (rows, d)   y: (rows)
template <class T>
void logsumexp(int64_t rows, int64_t d, const T* x, T* y);

/// dx = y (dy - sum dy y) in each row, y = softmax(x).
template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx);

/// dx = dy - exp(y) sum dy in each row, y = log_softmax(x).
template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx);

struct CrossEntropyOptions {
  double label_smoothing = 0;
  int64_t ignore_index = -100;
};

/// The sum of the rows' losses, and that of their weights w_t.
struct CrossEntropyTotals {
  double loss, weight;
};

/// l_i = -(1 - s) w_t log p_t - s / C sum_c w_c log p_c with p = softmax(x_i), t the row's label, s
/// the label smoothing; 0 for a row whose label is ignore_index, NaN where softmax is. A label that
/// is neither in [0, C) nor ignore_index is an error.   x: (rows, C)   w: (C) or null for ones
/// loss: (rows), or null for the totals alone
template <class T>
CrossEntropyTotals cross_entropy(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                                 const T* w, const CrossEntropyOptions& options, T* loss);

/// What comes back into the losses, g: dloss[i] for row i if there is one `each`, else dloss[0] for
/// all rows; divided by `divisor`.
template <class T>
struct LossGradient {
  const T* dloss;
  bool each;
  double divisor;
};

/// dx_ic = g_i ((1 - s) w_t (p_c - [c = t]) + s / C (p_c sum w - w_c))
template <class T>
void cross_entropy_backward(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                            const T* w, const CrossEntropyOptions& options,
                            const LossGradient<T>& g, T* dx);

/// a_i = ((1 - s) w_t + s / C sum w) / divisor: how much of p there is in dx_i for a dloss of 1.
/// a: (rows)
template <class T>
void softmax_share(int64_t rows, int64_t classes, const int64_t* labels, const T* w,
                   const CrossEntropyOptions& options, double divisor, T* a);

}  // namespace gradus::kernels
