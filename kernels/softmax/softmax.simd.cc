// Softmax, its gradient and logarithms. Several short rows go through exp together, which the
// compiler vectorizes, so that its loop is long.

#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/softmax/table.h>
#include <gradus/kernels/vector/lanes.h>
#include <gradus/kernels/vector/math.h>

#include <type_traits>

namespace gradus::kernels {
namespace {

constexpr int64_t kBlockElements = 2048;  // that go through exp together
constexpr int64_t kBlockRows = 128;       // at most

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/// How many of `rows`, filled up to whole vectors, fit in a block; at least one.
template <class T>
int64_t rows_of_block(int64_t rows, int64_t d) {
  const int64_t filled = d + kWidth<T>, few = smaller(rows, kBlockRows);
  if (few * filled <= kBlockElements) return few;  // spares small tensors the division
  return filled > kBlockElements ? 1 : kBlockElements / filled;
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
  return horizontal_max(best[0]);
}

/// What is subtracted before exp: the maximum; nothing of a row that is -inf everywhere.
template <class T>
T shift_of(int64_t d, const T* x) {
  const T m = largest(d, x);
  return m == static_cast<T>(-__builtin_inf()) ? T(0) : m;
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

/// Rows that go through exp together, each filled up to whole vectors: a store of part of a vector
/// would hold up the loads of the next row.
template <class T>
class ExpBlock {
 public:
  /// e_k = exp(x_k - shift_k) of rows `row` apart.
  void fill(int64_t rows, int64_t d, const T* x, int64_t row, const T* shift) {
    stride_ = (d + kWidth<T> - 1) / kWidth<T> * kWidth<T>;
    constexpr T nothing = static_cast<T>(-__builtin_inf());
    for (int64_t k = 0; k < rows; ++k) {
      const T *from = x + k * row, by = shift[k];
      T* to = e_ + k * stride_;
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        kernels::store(to + j, lanes.keep_or(lanes.load(from + j) - by, Vector<T>{} + nothing));
      });
    }
    for (int64_t k = 0; k < rows * stride_; ++k) e_[k] = math::exp(e_[k]);
  }
  double sum_of(int64_t k) const {
    if (stride_ == kWidth<T>) return static_cast<double>(horizontal_sum(load(row(k))));
    return sum(stride_, row(k));
  }
  const T* row(int64_t k) const { return e_ + k * stride_; }

 private:
  alignas(64) T e_[kBlockElements];
  int64_t stride_ = 0;
};

template <class T, bool streamed = false>
void scale_row(int64_t d, T factor, const T* x, T* y) {
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    put<T, streamed>(lanes, y + j, lanes.load(x + j) * factor);
  });
}

template <class T>
T softmax_factor(double sum, const T* scale, int64_t i) {
  // Of a row that is -inf everywhere inf: times e, which is 0, NaN.
  return static_cast<T>((scale ? static_cast<double>(scale[i]) : 1.0) / sum);
}

/// A row longer than a block.
template <class T>
void softmax_row(int64_t d, const T* scale, const T* x, T* y) {
  ExpBlock<T> e;
  const T shift = shift_of(d, x);
  double sum = 0;
  for (int64_t j = 0; j < d; j += kBlockElements) {
    const int64_t count = smaller(kBlockElements, d - j);
    e.fill(1, count, x + j, count, &shift);
    sum += e.sum_of(0);
    scale_row(count, T(1), e.row(0), y + j);
  }
  scale_row(d, softmax_factor(sum, scale, 0), y, y);
}

template <class T>
void softmax(int64_t rows, int64_t d, const T* scale, const T* x, T* y, bool streamed) {
  if (d > kBlockElements) {
    for (int64_t i = 0; i < rows; ++i)
      softmax_row(d, scale ? scale + i : nullptr, x + i * d, y + i * d);
    return;
  }
  ExpBlock<T> e;
  T shift[kBlockRows];
  const int64_t block = rows_of_block<T>(rows, d);
  streamed = streamed && streamable(y, d);
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = 0; k < count; ++k) shift[k] = shift_of(d, x + (i + k) * d);
    e.fill(count, d, x + i * d, d, shift);
    for (int64_t k = 0; k < count; ++k) {
      const T factor = softmax_factor(e.sum_of(k), scale, i + k);
      T* to = y + (i + k) * d;
      streamed ? scale_row<T, true>(d, factor, e.row(k), to) : scale_row(d, factor, e.row(k), to);
    }
  }
  if (streamed) order_streams();
}

/// sums_k = sum exp(x_k - shift_k) of the rows of a block, or of one that is longer.
template <class T>
void exp_sums(int64_t rows, int64_t d, const T* x, const T* shift, double* sums) {
  ExpBlock<T> e;
  for (int64_t j = 0; j < d; j += kBlockElements) {
    e.fill(rows, smaller(kBlockElements, d - j), x + j, d, shift);
    for (int64_t k = 0; k < rows; ++k) sums[k] = (j == 0 ? 0 : sums[k]) + e.sum_of(k);
  }
}

template <class T>
void log_sums(int64_t rows, int64_t d, const T* x, T* shift, T* log_sum) {
  const int64_t block = rows_of_block<T>(rows, d);
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
  const int64_t block = rows_of_block<T>(rows, d);
  T shift[kBlockRows];
  double sums[kBlockRows];
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = 0; k < count; ++k) shift[k] = shift_of(d, x + (i + k) * d);
    exp_sums(count, d, x + i * d, shift, sums);
    for (int64_t k = 0; k < count; ++k) {
      const T* row = x + (i + k) * d;
      const T from = shift[k], rest = static_cast<T>(math::log(sums[k]));
      T* to = y + (i + k) * d;
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        lanes.store(to + j, (lanes.load(row + j) - from) - rest);
      });
    }
  }
}

template <class T>
using Wide = std::conditional_t<sizeof(T) == sizeof(float), double, long double>;

/// dx = p (dy - sum dy p) or dy - p sum dy of a row, p the softmax, whose sum or difference T does
/// not hold.
template <class T>
[[gnu::noinline]] void gradient_row_in_double(int64_t d, bool of_log, const T* y, const T* dy,
                                              T* dx) {
  const auto p = [&](int64_t j) { return static_cast<Wide<T>>(of_log ? math::exp(y[j]) : y[j]); };
  Wide<T> sum = 0;
  for (int64_t j = 0; j < d; ++j) sum += static_cast<Wide<T>>(dy[j]) * (of_log ? 1 : p(j));
  for (int64_t j = 0; j < d; ++j) {
    const auto g = static_cast<Wide<T>>(dy[j]);
    dx[j] = static_cast<T>(of_log ? g - p(j) * sum : p(j) * (g - sum));
  }
}

/// Whether T carries a row's gradient that subtracts this.
template <class T>
bool is_ordinary(T sum) {
  constexpr T most = sizeof(T) == sizeof(float) ? T(0x1p126) : T(0x1p1022);
  return sum >= -most && sum <= most;
}

/// False if an element is not finite.
template <class T, bool streamed>
bool softmax_gradient_row(int64_t d, T mean, const T* y, const T* dy, T* dx) {
  Vector<T> zeros[kParts] = {};
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
    const Vector<T> v = lanes.load(y + j) * (lanes.load(dy + j) - mean);
    zeros[part] += T(0) * v;
    put<T, streamed>(lanes, dx + j, v);
  });
  return horizontal_sum((zeros[0] + zeros[1]) + (zeros[2] + zeros[3])) == 0;
}

template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx, bool streamed) {
  streamed = streamed && streamable(dx, d);
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
    const bool finite = streamed ? softmax_gradient_row<T, true>(d, mean, y, dy, dx)
                                 : softmax_gradient_row<T, false>(d, mean, y, dy, dx);
    if (finite) continue;
    if (streamed) order_streams();
    gradient_row_in_double(d, false, y, dy, dx);
  }
  if (streamed) order_streams();
}

template <class T>
void log_softmax_gradient_row(int64_t d, T total, const T* __restrict y, const T* __restrict dy,
                              T* __restrict dx) {
  for (int64_t j = 0; j < d; ++j) dx[j] = dy[j] - math::exp(y[j]) * total;
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  if (d > kBlockElements) {
    for (int64_t i = 0; i < rows; ++i, y += d, dy += d, dx += d) {
      const T total = static_cast<T>(sum(d, dy));
      is_ordinary(total) ? log_softmax_gradient_row(d, total, y, dy, dx)
                         : gradient_row_in_double(d, true, y, dy, dx);
    }
    return;
  }
  ExpBlock<T> e;
  const T zero[kBlockRows] = {};
  const int64_t block = rows_of_block<T>(rows, d);
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    e.fill(count, d, y + i * d, d, zero);
    for (int64_t k = 0; k < count; ++k) {
      const T *p = e.row(k), *from = dy + (i + k) * d, total = static_cast<T>(sum(d, from));
      T* to = dx + (i + k) * d;
      if (!is_ordinary(total)) {
        gradient_row_in_double(d, true, y + (i + k) * d, from, to);
        continue;
      }
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        lanes.store(to + j, lanes.load(from + j) - lanes.load(p + j) * total);
      });
    }
  }
}

template <class T>
double weighted_sum(int64_t d, T shift, const T* w, const T* x) {
  constexpr int parts = 16;
  double sums[parts] = {};
  const auto term = [&](int64_t j) GRADUS_INLINE {
    const auto v = static_cast<double>(x[j] - shift);
    return w ? static_cast<double>(w[j]) * v : v;
  };
  int64_t j = 0;
  for (; j + parts <= d; j += parts)
    for (int k = 0; k < parts; ++k) sums[k] += term(j + k);
  for (; j < d; ++j) sums[j % parts] += term(j);
  for (int half = parts / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
  return sums[0];
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

GRADUS_TABLES(SoftmaxKernels, kTable)

}  // namespace gradus::kernels
