// Sums and extrema along rows and down columns. The order of every addition is fixed by the shape.

#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/vectors.h>

namespace gradus::kernels {
namespace {

constexpr int kAccumulators = 4;
// Elements of a row that are added up in T: no more than 32 to each lane, or with equal numbers
// their roundings would exceed 2^-20 in all.
constexpr int64_t kBlockElements = kVectorBytes < 32 ? 512 : 1024;
constexpr int64_t kTileColumns = 512;  // whose sums stay in the first cache

/// Halves are added to halves.
template <class T>
T horizontal_sum(Vector<T> v) {
  T lanes[kWidth<T>];
  store(lanes, v);
  for (int half = kWidth<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

/// The sum of at most a block.
template <class T>
T block_sum(int64_t n, const T* x) {
  constexpr int width = kWidth<T>;
  Vector<T> sums[kAccumulators] = {};
  int64_t i = 0;
  for (; i + kAccumulators * width <= n; i += kAccumulators * width)
    unroll<kAccumulators>([&](int k) __attribute__((always_inline)) {
      sums[k] += load(x + i + k * width);
    });
  for (; i + width <= n; i += width) sums[0] += load(x + i);
  if (i < n) sums[1] += load_first(x + i, static_cast<int>(n - i));
  return horizontal_sum<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
double sum(int64_t n, const T* x) {
  double total = 0;
  for (; n > kBlockElements; n -= kBlockElements, x += kBlockElements)
    total += static_cast<double>(block_sum(kBlockElements, x));
  return total + static_cast<double>(block_sum(n, x));
}

template <class T>
bool all_finite(int64_t n, const T* x) {
  constexpr int width = kWidth<T>;
  Vector<T> zeros[kAccumulators] = {};  // NaN once anything else was multiplied by 0
  int64_t i = 0;
  for (; i + kAccumulators * width <= n; i += kAccumulators * width)
    unroll<kAccumulators>([&](int k) __attribute__((always_inline)) {
      zeros[k] += T(0) * load(x + i + k * width);
    });
  for (; i + width <= n; i += width) zeros[0] += T(0) * load(x + i);
  if (i < n) zeros[1] += T(0) * load_first(x + i, static_cast<int>(n - i));
  return horizontal_sum<T>((zeros[0] + zeros[1]) + (zeros[2] + zeros[3])) == T(0);
}

template <class T>
double sum_of_squares(int64_t n, const T* x) {
  constexpr int width = kWidth<double>, parts = 4;
  typedef T Part __attribute__((vector_size(width * sizeof(T)), aligned(sizeof(T)), may_alias));
  Vector<double> sums[parts] = {};
  int64_t i = 0;
  for (; i + parts * width <= n; i += parts * width)
    unroll<parts>([&](int k) __attribute__((always_inline)) {
      const Part part = *reinterpret_cast<const Part*>(x + i + k * width);
      const Vector<double> v = __builtin_convertvector(part, Vector<double>);
      sums[k] += v * v;
    });
  double lanes[width], total = 0;
  store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (int k = 0; k < width; ++k) total += lanes[k];
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

/// The column sums of at most a block of rows, four rows at a time.
template <class T>
void sum_block(int64_t rows, int64_t columns, const T* __restrict x, int64_t row,
               T* __restrict sums) {
  for (int64_t j = 0; j < columns; ++j) sums[j] = 0;
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4, x += 4 * row)
    for (int64_t j = 0; j < columns; ++j)
      sums[j] += (x[j] + x[row + j]) + (x[2 * row + j] + x[3 * row + j]);
  for (; i < rows; ++i, x += row)
    for (int64_t j = 0; j < columns; ++j) sums[j] += x[j];
}

template <class T>
void sum_tile(int64_t rows, int64_t columns, const T* x, int64_t row, double* __restrict y) {
  alignas(64) T sums[kTileColumns];
  for (int64_t i = 0; i < rows; i += kSumRows) {
    sum_block(rows - i < kSumRows ? rows - i : kSumRows, columns, x + i * row, row, sums);
    for (int64_t j = 0; j < columns; ++j) y[j] += static_cast<double>(sums[j]);
  }
}

template <class T>
void sum_columns(int64_t rows, int64_t columns, const T* x, int64_t row, double* y) {
  // Short rows that follow each other are read as few long ones, so that the loops are long.
  constexpr int64_t shortest = 64;
  if (columns < shortest && row == columns && rows * columns >= 4 * kTileColumns) {
    const int64_t times = kTileColumns / columns, length = times * columns, full = rows / times;
    double sums[kTileColumns] = {};
    sum_tile(full, length, x, length, sums);
    for (int64_t i = 0; i < times; ++i)
      for (int64_t j = 0; j < columns; ++j) y[j] += sums[i * columns + j];
    sum_tile(rows % times, columns, x + full * length, row, y);
    return;
  }
  for (int64_t j = 0; j < columns; j += kTileColumns)
    sum_tile(rows, columns - j < kTileColumns ? columns - j : kTileColumns, x + j, row, y + j);
}

/// Whether x takes the place of the best so far, which keeps it if equal or NaN.
template <bool largest, class T>
inline bool better(T x, T best) {
  return !(largest ? x <= best : x >= best) && best == best;
}

/// Where the value of x is the one sought, or NaN if that is.
template <class T>
int64_t place_of(T value, const T* x) {
  int64_t i = 0;
  if (value != value)
    while (x[i] == x[i]) ++i;
  else
    while (x[i] != value) ++i;
  return i;
}

template <bool largest, class T>
Extremum<T> extremum(int64_t n, const T* x, bool with_index) {
  constexpr int width = kWidth<T>;
  Vector<T> best = Vector<T>{} + x[0];
  auto nan = best != best;
  const auto take = [&](Vector<T> v) __attribute__((always_inline)) {
    best = (largest ? v > best : v < best) ? v : best;
    nan |= v != v;
  };
  int64_t i = 0;
  for (; i + width <= n; i += width) take(load(x + i));
  if (i < n) {
    T rest[width];
    store(rest, Vector<T>{} + x[0]);
    for (int k = 0; k < n - i; ++k) rest[k] = x[i + k];
    take(load(rest));
  }
  T lanes[width];
  store(lanes, best);
  bool any_nan = false;
  for (int k = 0; k < width; ++k) any_nan |= nan[k] != 0;
  for (int half = width / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k)
      lanes[k] = (largest ? lanes[k] > lanes[k + half] : lanes[k] < lanes[k + half])
                     ? lanes[k]
                     : lanes[k + half];
  const T value = any_nan ? static_cast<T>(__builtin_nan("")) : lanes[0];
  return {value, with_index ? place_of(value, x) : 0};
}

template <bool largest, class T>
void extremum_columns(int64_t rows, int64_t columns, const T* __restrict x, int64_t row,
                      T* __restrict y, int64_t* __restrict index) {
  for (int64_t j = 0; j < columns; ++j) y[j] = x[j];
  if (index)
    for (int64_t j = 0; j < columns; ++j) index[j] = 0;
  for (int64_t i = 1; i < rows; ++i) {
    const T* __restrict p = x + i * row;
    if (index)
      for (int64_t j = 0; j < columns; ++j) index[j] = better<largest>(p[j], y[j]) ? i : index[j];
    for (int64_t j = 0; j < columns; ++j) y[j] = better<largest>(p[j], y[j]) ? p[j] : y[j];
  }
}

template <class T>
constexpr ReduceKernels<T> kTable = {sum<T>,
                                     sum_of_squares<T>,
                                     all_finite<T>,
                                     sum_columns<T>,
                                     sum_block<T>,
                                     extremum<true, T>,
                                     extremum<false, T>,
                                     extremum_columns<true, T>,
                                     extremum_columns<false, T>};

}  // namespace

GRADUS_TABLES(ReduceKernels, kTable)

}  // namespace gradus::kernels
