#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace gradus::kernels {

/// y = exp(x) / sum exp(x) in each row; 0 in a row that is -inf everywhere.   x, y: (rows, d)
template <class T>
void softmax(int64_t rows, int64_t d, const T* x, T* y);

/// y = log softmax(x) in each row; -inf in a row that is -inf everywhere.   x, y: (rows, d)
template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y);

/// y = log sum exp(x) of each row.   x: (rows, d)   y: (rows)
template <class T>
void logsumexp(int64_t rows, int64_t d, const T* x, T* y);

/// dx = y (dy - sum dy y) in each row, y = softmax(x).
template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx);

/// dx = dy - exp(y) sum dy in each row, y = log_softmax(x).
template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx);

enum class Reduction { none, mean, sum };

struct CrossEntropyOptions {
  double label_smoothing = 0;
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};

/// l_i = -(1 - s) w_t log p_t - s / C sum_c w_c log p_c with p = softmax(x_i), t the row's label, s
/// the label smoothing; 0 for a row whose label is ignore_index. `mean` divides the sum by the
/// total of w_t over the other rows (NaN if there are none), which is returned. A label that is
/// neither in [0, C) nor ignore_index is an error.   x: (rows, C)   w: (C) or null for ones   loss:
/// one, or (rows) if not reduced
template <class T>
double cross_entropy(int64_t rows, int64_t classes, const T* x, const int64_t* labels, const T* w,
                     const CrossEntropyOptions& options, T* loss);

/// dx_ic = g_i ((1 - s) w_t (p_c - [c = t]) + s / C (p_c sum w - w_c)), g = dloss, divided by
/// total_weight for `mean`.   dloss: like loss
template <class T>
void cross_entropy_backward(int64_t rows, int64_t classes, const T* x, const int64_t* labels,
                            const T* w, const CrossEntropyOptions& options, double total_weight,
                            const T* dloss, T* dx);

}  // namespace gradus::kernels
