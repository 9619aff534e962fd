// Softmax, its gradient and logarithms. Several short rows go through exp together, which the
// compiler vectorizes, so that its loop is long.

#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/softmax/table.h>
#include <gradus/kernels/vector/lanes.h>
#include <gradus/kernels/vector/math.h>

#include <limits>
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
[[gnu::noinline]] T largest(int64_t d, const T* x) {
  constexpr T least = static_cast<T>(-__builtin_inf());
  if (d < kWidth<T>) {
    const int count = static_cast<int>(d);
    const Vector<T> few = {}, v = first_lanes<T>(count) ? load_first(x, count) : few + least;
    return horizontal_max(v > few + least ? v : few + least);
  }
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
  if (d <= kParts * kWidth<T>) {
    Vector<T> few = {};
    int64_t j = 0;
    for (; j + kWidth<T> <= d; j += kWidth<T>) few += load(x + j);
    if (j < d) few += load_first(x + j, static_cast<int>(d - j));
    return static_cast<double>(horizontal_sum(few));
  }
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
  /// e_k = exp(x_k - shift_k), x: (rows, d).
  [[gnu::noinline]] void fill(int64_t rows, int64_t d, const T* x, const T* shift) {
    stride_ = (d + kWidth<T> - 1) / kWidth<T> * kWidth<T>;
    constexpr T nothing = static_cast<T>(-__builtin_inf());
    for (int64_t k = 0; k < rows; ++k) {
      const T *from = x + k * d, by = shift[k];
      T* to = e_ + k * stride_;
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        kernels::store(to + j, lanes.keep_or(lanes.load(from + j) - by, Vector<T>{} + nothing));
      });
    }
    for (int64_t k = 0; k < rows * stride_; ++k) e_[k] = math::exp(e_[k]);
  }
  [[gnu::noinline]] double sum_of(int64_t k) const {
    return sum_of(k, [](Vector<T> v) GRADUS_INLINE { return v; });
  }
  /// The sum of those that are less than 1.
  [[gnu::noinline]] double sum_below_one(int64_t k) const {
    return sum_of(k, [](Vector<T> v) GRADUS_INLINE { return v < T(1) ? v : Vector<T>{}; });
  }
  const T* row(int64_t k) const { return e_ + k * stride_; }

 private:
  template <class F>
  GRADUS_INLINE double sum_of(int64_t k, F f) const {
    if (stride_ <= kParts * kWidth<T>) {
      Vector<T> few = {};
      for (int64_t j = 0; j < stride_; j += kWidth<T>) few += f(load(row(k) + j));
      return static_cast<double>(horizontal_sum(few));
    }
    Sums<T> sums;
    for_each_vector<T, false>(stride_, nullptr, [&](int64_t j, int part, auto) GRADUS_INLINE {
      sums.parts[part] += f(load(row(k) + j));
    });
    return sums.total();
  }
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
    e.fill(1, count, x + j, &shift);
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
    e.fill(count, d, x + i * d, shift);
    for (int64_t k = 0; k < count; ++k) {
      const T factor = softmax_factor(e.sum_of(k), scale, i + k);
      T* to = y + (i + k) * d;
      streamed ? scale_row<T, true>(d, factor, e.row(k), to) : scale_row(d, factor, e.row(k), to);
    }
  }
  if (streamed) order_streams();
}

/// Whether one e of those that have this sum is 1, and more than 3/4 of it.
inline bool one_dominates(double sum) { return sum >= 1 && sum < 4.0 / 3; }

/// others_k = sum exp(x_k - shift_k) - 1 of the rows of a block, or of one that is longer. Where
/// one element dominates the others are summed: beside 1 rounding would take what is all there is
/// of the logarithm.
template <class T>
void sum_others(int64_t rows, int64_t d, const T* x, const T* shift, T* others) {
  ExpBlock<T> e;
  if (d <= kBlockElements) {
    e.fill(rows, d, x, shift);
    for (int64_t k = 0; k < rows; ++k) {
      const double sum = e.sum_of(k);
      others[k] = static_cast<T>(one_dominates(sum) ? e.sum_below_one(k) : sum - 1);
    }
    return;
  }
  double all = 0, below = 0;
  for (int64_t j = 0; j < d; j += kBlockElements) {
    e.fill(rows, smaller(kBlockElements, d - j), x + j, shift);
    const double sum = e.sum_of(0);
    all += sum;
    below += one_dominates(sum) ? e.sum_below_one(0) : sum;
  }
  *others = static_cast<T>(one_dominates(all) ? below : all - 1);
}

inline void log1p_of(int64_t count, float* x) {
  const int64_t filled = (count + kWidth<float> - 1) / kWidth<float> * kWidth<float>;
  for (int64_t k = count; k < filled; ++k) x[k] = 0;
  for (int64_t k = 0; k < filled; ++k) x[k] = math::log1p(x[k]);
}
inline void log1p_of(int64_t count, double* x) {  // libm's logarithm is the faster of the two
  for (int64_t k = 0; k < count; ++k) x[k] = x[k] < 1 ? math::log1p(x[k]) : math::log(1 + x[k]);
}

template <class T>
void log_sums(int64_t rows, int64_t d, const T* x, T* shift, T* log_sum) {
  const int64_t block = rows_of_block<T>(rows, d);
  T logs[kBlockRows];
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = i; k < i + count; ++k) {
      shift[k] = shift_of(d, x + k * d);
      if (shift[k] == static_cast<T>(__builtin_inf())) shift[k] = 0;
    }
    sum_others(count, d, x + i * d, shift + i, logs);
    log1p_of(count, logs);
    __builtin_memcpy(log_sum + i, logs, static_cast<size_t>(count) * sizeof(T));
  }
}

template <class T>
void log_softmax(int64_t rows, int64_t d, const T* x, T* y) {
  const int64_t block = rows_of_block<T>(rows, d);
  T shift[kBlockRows], logs[kBlockRows];
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    for (int64_t k = 0; k < count; ++k) shift[k] = shift_of(d, x + (i + k) * d);
    sum_others(count, d, x + i * d, shift, logs);
    log1p_of(count, logs);
    for (int64_t k = 0; k < count; ++k) {
      const T* row = x + (i + k) * d;
      const T from = shift[k], rest = logs[k];
      T* to = y + (i + k) * d;
      for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
        lanes.store(to + j, (lanes.load(row + j) - from) - rest);
      });
    }
  }
}

template <class T>
using Wide = std::conditional_t<sizeof(T) == sizeof(float), double, long double>;

/// What a softmax's sum leaves of 1: nothing but rounding, of other numbers what it is.
template <class T, class W>
W missing_of(W sum) {
  constexpr W rounding = sizeof(T) == sizeof(float) ? 0x1p-16 : 0x1p-40;
  return sum >= 1 - rounding && sum <= 1 + rounding ? 0 : 1 - sum;
}

template <class T>
int64_t index_of_largest(int64_t d, const T* x) {
  int64_t most = 0;
  for (int64_t j = 1; j < d; ++j) most = x[j] > x[most] ? j : most;
  return most;
}

// Of softmax's gradient y (dy - sum dy y) little may be left, where y is nearly 1 or dy are nearly
// the same. As sum y = 1, any number may be subtracted from all dy first; the dy of the largest y,
// c, leaves what counts: y ((dy - c) - sum (dy - c) y).

/// A row whose sum or difference T does not hold.
template <class T>
[[gnu::noinline, gnu::cold]] void softmax_gradient_in_double(int64_t d, const T* y, const T* dy,
                                                             T* dx) {
  using W = Wide<T>;
  const auto p = [&](int64_t j) { return static_cast<W>(y[j]); };
  const auto g = [&](int64_t j) { return static_cast<W>(dy[j]); };
  W all = 0, mean = 0, rest = 0, center = g(index_of_largest(d, y));
  for (int64_t j = 0; j < d; ++j) {
    all += p(j);
    mean += g(j) * p(j);
    rest += (g(j) - center) * p(j);
  }
  rest -= center * missing_of<T>(all);
  if (mean - mean != 0) center = 0, rest = mean;  // not finite
  for (int64_t j = 0; j < d; ++j) dx[j] = static_cast<T>(p(j) * ((g(j) - center) - rest));
}

template <class T>
Vector<T> magnitude(Vector<T> v) {
  using Bits = LaneMask<T>;
  constexpr auto sign = std::numeric_limits<std::remove_cvref_t<decltype(Bits{}[0])>>::min();
  return reinterpret_cast<Vector<T>>(reinterpret_cast<Bits>(v) & ~(Bits{} + sign));
}

/// dx = y ((dy - center) - mean), without a center y (dy - mean). Returns sum |dx|.
template <class T, bool streamed, bool centred = false>
double softmax_gradient_row(int64_t d, T center, T mean, const T* y, const T* dy, T* dx) {
  Sums<T> size;
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
    const Vector<T> g = lanes.load(dy + j),
                    v = lanes.load(y + j) * ((centred ? g - center : g) - mean);
    size.parts[part] += magnitude<T>(v);
    put<T, streamed>(lanes, dx + j, v);
  });
  return size.total();
}

template <class T>
[[gnu::noinline, gnu::cold]] double centred_softmax_gradient_row(int64_t d, const T* y, const T* dy,
                                                                 T* dx) {
  const T most = largest(d, y);
  Vector<T> top = Vector<T>{} + static_cast<T>(-__builtin_inf());
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int, auto lanes) GRADUS_INLINE {
    const Vector<T> g = lanes.load(y + j) == most ? lanes.load(dy + j) : top;
    top = g > top ? g : top;
  });
  const T center = horizontal_max(top);
  double all = 0, rest = 0;
  for (int64_t first = 0; first < d; first += kBlockElements) {
    Sums<T> ys, terms;
    for_each_vector<T, false>(smaller(kBlockElements, d - first), nullptr,
                              [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
                                const Vector<T> v = lanes.load(y + first + j);
                                ys.parts[part] += v;
                                terms.parts[part] += v * (lanes.load(dy + first + j) - center);
                              });
    all += ys.total(), rest += terms.total();
  }
  rest -= static_cast<double>(center) * missing_of<T>(all);
  return softmax_gradient_row<T, false, true>(d, center, static_cast<T>(rest), y, dy, dx);
}

template <class T>
void softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx, bool streamed) {
  constexpr double infinity = __builtin_inf(), cancelled = 0.25;
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
    const double size = streamed ? softmax_gradient_row<T, true>(d, T(0), mean, y, dy, dx)
                                 : softmax_gradient_row<T, false>(d, T(0), mean, y, dy, dx);
    if (size >= cancelled * math::abs(total) && size < infinity) continue;
    if (streamed) order_streams();
    if (!(centred_softmax_gradient_row(d, y, dy, dx) < infinity))
      softmax_gradient_in_double(d, y, dy, dx);
  }
  if (streamed) order_streams();
}

// Of log softmax's gradient dy - p sum dy at a p that is nearly 1 little is left of dy; without it
// in the sum: dy (1 - p) - p sum of the others' dy.

/// A row whose sum T does not hold.
template <class T>
[[gnu::noinline, gnu::cold]] void log_softmax_gradient_in_double(int64_t d, const T* y, const T* dy,
                                                                 T* dx) {
  using W = Wide<T>;
  const auto p = [&](int64_t j) { return static_cast<W>(math::exp(y[j])); };
  const auto g = [&](int64_t j) { return static_cast<W>(dy[j]); };
  const int64_t most = index_of_largest(d, y);
  W other_p = 0, others = 0;
  for (int64_t j = 0; j < d; ++j)
    if (j != most) other_p += p(j), others += g(j);
  const W sum = g(most) + others;
  for (int64_t j = 0; j < d; ++j) dx[j] = static_cast<T>(g(j) - p(j) * sum);
  if (sum - sum == 0) dx[most] = static_cast<T>(g(most) * other_p - p(most) * others);
}

/// Whether T carries a row's gradient that subtracts this.
template <class T>
bool is_ordinary(T sum) {
  constexpr T most = sizeof(T) == sizeof(float) ? T(0x1p126) : T(0x1p1022);
  return sum >= -most && sum <= most;
}

/// Of a row whose p are there. Returns whether one of them is nearly 1: sum p^2 is.
template <class T>
bool log_softmax_gradient_of(int64_t d, T total, const T* p, const T* dy, T* dx) {
  Sums<T> squares;
  for_each_vector<T, false>(d, nullptr, [&](int64_t j, int part, auto lanes) GRADUS_INLINE {
    const Vector<T> v = lanes.load(p + j);
    squares.parts[part] += v * v;
    lanes.store(dx + j, lanes.load(dy + j) - v * total);
  });
  return squares.total() >= 0.6;
}

template <class T>
constexpr T kMostOfP = T(-0.6);  // a logarithm

/// The same of a row longer than a block, from y.
template <class T>
bool log_softmax_gradient_row(int64_t d, T total, const T* __restrict y, const T* __restrict dy,
                              T* __restrict dx) {
  int found = 0;
  for (int64_t j = 0; j < d; ++j) {
    dx[j] = dy[j] - math::exp(y[j]) * total;
    found |= y[j] > kMostOfP<T>;
  }
  return found != 0;
}

/// The gradient of the entry that has more than half of p; of all if T does not hold the others'
/// sum.
template <class T>
[[gnu::noinline, gnu::cold]] void log_softmax_gradient_of_largest(int64_t d, const T* y,
                                                                  const T* dy, T* dx) {
  constexpr int64_t stretch = 64;
  int64_t j = 0;
  while (j + stretch < d && !(largest(stretch, y + j) > kMostOfP<T>)) j += stretch;
  while (j < d - 1 && !(y[j] > kMostOfP<T>)) ++j;
  const double others = sum(j, dy) + sum(d - j - 1, dy + j + 1),
               less = __builtin_expm1(static_cast<double>(y[j]));
  if (others - others != 0) return log_softmax_gradient_in_double(d, y, dy, dx);
  dx[j] = static_cast<T>(-less * static_cast<double>(dy[j]) - (1 + less) * others);
}

template <class T>
void log_softmax_backward(int64_t rows, int64_t d, const T* y, const T* dy, T* dx) {
  ExpBlock<T> e;
  const T zero[kBlockRows] = {};
  const int64_t block = rows_of_block<T>(rows, d);
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t count = smaller(block, rows - i);
    if (d <= kBlockElements) e.fill(count, d, y + i * d, zero);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t first = (i + k) * d;
      const T *row = y + first, *from = dy + first, total = static_cast<T>(sum(d, from));
      T* to = dx + first;
      if (!is_ordinary(total)) {
        log_softmax_gradient_in_double(d, row, from, to);
        continue;
      }
      const bool peaked = d <= kBlockElements
                              ? log_softmax_gradient_of(d, total, e.row(k), from, to)
                              : log_softmax_gradient_row(d, total, row, from, to);
      if (peaked) log_softmax_gradient_of_largest(d, row, from, to);
    }
  }
}

template <class T>
double weighted_sum(int64_t d, T shift, const T* w, const T* x) {
  constexpr int parts = 16;
  double sums[parts] = {};
  const double from = 0.5 * static_cast<double>(shift);
  const auto term = [&](int64_t j) GRADUS_INLINE {
    const double v = 0.5 * static_cast<double>(x[j]) - from;  // which T holds
    return w ? static_cast<double>(w[j]) * v : v;
  };
  int64_t j = 0;
  for (; j + parts <= d; j += parts)
    for (int k = 0; k < parts; ++k) sums[k] += term(j + k);
  for (; j < d; ++j) sums[j % parts] += term(j);
  for (int half = parts / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
  return 2 * sums[0];
}

template <class T>
void subtract(int64_t d, T scale, const T* w, T* dx) {
  for (int64_t j = 0; j < d; ++j) dx[j] -= w ? scale * w[j] : scale;
}

template <class T>
constexpr SoftmaxKernels<T> kTable = {
    softmax<T>,      log_softmax<T>, log_sums<T>, softmax_backward<T>, log_softmax_backward<T>,
    weighted_sum<T>, subtract<T>,    sum<T>};

}  // namespace

GRADUS_TABLES(SoftmaxKernels, kTable)

}  // namespace gradus::kernels
