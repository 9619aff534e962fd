// Softmax, its gradient and logarithms. Several short rows go through exp together, which the
// compiler vectorizes, so that its loop is long.

#include <gradus/tensor/kernels/isa.h>
#include <gradus/tensor/kernels/math.h>
#include <gradus/tensor/kernels/simd/lanes.h>
#include <gradus/tensor/kernels/softmax_table.h>

namespace gradus::kernels {
namespace {

constexpr int64_t kBlockElements = 2048;  // that go through exp together
constexpr int64_t kBlockRows = 128;       // at most

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline int64_t rows_of_block(int64_t d) {
  const int64_t rows = kBlockElements / (d > 0 ? d : 1);
  return rows < 1 ? 1 : smaller(rows, kBlockRows);
}

/// The largest element that is not NaN, or -inf.
template <class T>
T largest(int64_t d, const T* x) {
  constexpr T least = static_cast<T>(-__builtin_inf());
  Vector<T> best[kParts];
  for (Vector<T>& v : best) v = Vector<T>{} + least;
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
    const Vector<T> v = lanes.keep_or(lanes.load(x + j), best[part]);
    best[part] = v > best[part] ? v : best[part];
  });
  for (int k = 1; k < kParts; ++k) best[0] = best[k] > best[0] ? best[k] : best[0];
  return horizontal_max<T>(best[0]);
}

/// What is subtracted before exp: the maximum; nothing of a row that is -inf everywhere.
template <class T>
T shift_of(int64_t d, const T* x) {
  const T m = largest(d, x);
  return m == static_cast<T>(-__builtin_inf()) ? T(0) : m;
}

template <class T>
void subtract_from(int64_t d, const T* x, T shift, T* y) {
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    lanes.store(y + j, lanes.load(x + j) - shift);
  });
}

template <class T>
void exp_of(int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = math::exp(x[i]);
}

template <class T>
double sum(int64_t d, const T* x) {
  double total = 0;
  for (int64_t first = 0; first < d; first += kBlockElements) {
    Sums<T> sums;
    for_each_vector<T, false>(smaller(kBlockElements, d - first), nullptr,
                              [&](int64_t j, int part, auto lanes)
                                  GRADUS_INLINE { sums.parts[part] += lanes.load(x + first + j); });
    total += sums.total();
  }
  return total;
}

template <class T>
void softmax(int64_t rows, int64_t d, const T* scale, const T* x, T* y) {
  const int64_t block = rows_of_block(d);
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t end = smaller(rows, i + block);
    for (int64_t k = i; k < end; ++k)
      subtract_from(d, x + k * d, shift_of(d, x + k * d), y + k * d);
    exp_of((end - i) * d, y + i * d);
    for (int64_t k = i; k < end; ++k) {
      T* row = y + k * d;
      const double total = sum(d, row), to = scale ? static_cast<double>(scale[k]) : 1.0;
      const T factor = static_cast<T>(total == 0 ? 0.0 : to / total);
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        lanes.store(row + j, lanes.load(row + j) * factor);
      });
    }
  }
}

/// sums_k = sum exp(x_k - shift_k) of at most kBlockRows rows that together are at most a block, or
/// of one row.
template <class T>
void exp_sums(int64_t rows, int64_t d, const T* x, const T* shift, double* sums) {
  alignas(64) T e[kBlockElements];
  for (int64_t k = 0; k < rows; ++k) sums[k] = 0;
  const int64_t width = smaller(d, kBlockElements);
  for (int64_t first = 0; first < d; first += width) {
    const int64_t count = smaller(width, d - first);
    for (int64_t k = 0; k < rows; ++k)
      subtract_from(count, x + k * d + first, shift[k], e + k * count);
    exp_of(rows * count, e);
    for (int64_t k = 0; k < rows; ++k) sums[k] += sum(count, e + k * count);
  }
}

template <class T>
void log_sums(int64_t rows, int64_t d, const T* x, T* shift, T* log_sum) {
  const int64_t block = rows_of_block(d);
  double sums[kBlockRows];
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = i; k < i + count; ++k) {
      shift[k] = shift_of(d, x + k * d);
      if (shift[k] == static_cast<T>(__builtin_inf())) shift[k] = 0;
    }
    exp_sums(count, d, x + i * d, shift + i, sums);
    for (int64_t k = 0; k < count; ++k) log_sum[i + k] = static_cast<T>(math::log(sums[k]));
  }
}

template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const int64_t block = rows_of_block(d);
  T shift[kBlockRows];
  double sums[kBlockRows];
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = 0; k < count; ++k) shift[k] = shift_of(d, x + (i + k) * d);
    exp_sums(count, d, x + i * d, shift, sums);
    for (int64_t k = 0; k < count; ++k) {
      const T* row = x + (i + k) * d;
      const T from = shift[k], rest = sums[k] == 0 ? T(0) : static_cast<T>(math::log(sums[k]));
      T* to = y + (i + k) * d;
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        lanes.store(to + j, (lanes.load(row + j) - from) - rest);
      });
    }
  }
}

template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  for (int64_t i = 0; i < rows; ++i, y += d, dy += d, dx += d) {
    double total = 0;
    for (int64_t first = 0; first < d; first += kBlockElements) {
      Sums<T> sums;
      for_each_vector<T, false>(smaller(kBlockElements, d - first), nullptr,
                                [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
                                  sums.parts[part] +=
                                      lanes.load(y + first + j) * lanes.load(dy + first + j);
                                });
      total += sums.total();
    }
    const T mean = static_cast<T>(total);
    for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
      lanes.store(dx + j, lanes.load(y + j) * (lanes.load(dy + j) - mean));
    });
  }
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  alignas(64) T e[kBlockElements];
  T totals[kBlockRows];
  const int64_t block = rows_of_block(d), width = smaller(d, kBlockElements);
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t end = smaller(rows, i + block);
    for (int64_t k = i; k < end; ++k) totals[k - i] = static_cast<T>(sum(d, dy + k * d));
    for (int64_t first = 0; first < d; first += width) {
      // Several whole rows, or a part of one.
      const int64_t count = smaller(width, d - first), at = i * d + first;
      for (int64_t k = 0; k < (end - i) * count; ++k) e[k] = math::exp(y[at + k]);
      for (int64_t k = i; k < end; ++k) {
        const T *p = e + (k - i) * count, *from = dy + k * d + first, total = totals[k - i];
        T* to = dx + k * d + first;
        for_each_vector<T, false>(count, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
          lanes.store(to + j, lanes.load(from + j) - lanes.load(p + j) * total);
        });
      }
    }
  }
}

template <class T>
double weighted_sum(int64_t d, T shift, const T* w, const T* x) {
  double total = 0;
  for (int64_t j = 0; j < d; ++j)
    total += (w ? static_cast<double>(w[j]) : 1.0) * static_cast<double>(x[j] - shift);
  return total;
}

template <class T>
void subtract(int64_t d, T scale, const T* w, T* dx) {
  for (int64_t j = 0; j < d; ++j) dx[j] -= w ? scale * w[j] : scale;
}

template <class T>
constexpr SoftmaxKernels<T> kTable = {softmax<T>,          log_softmax<T>,          log_sums<T>,
                                      softmax_backward<T>, log_softmax_backward<T>, weighted_sum<T>,
                                      subtract<T>};

}  // namespace

template <>
const SoftmaxKernels<float>& table_for<SoftmaxKernels<float>, Isa::GRADUS_ISA>() {
  return kTable<float>;
}
template <>
const SoftmaxKernels<double>& table_for<SoftmaxKernels<double>, Isa::GRADUS_ISA>() {
  return kTable<double>;
}

}  // namespace gradus::kernels
