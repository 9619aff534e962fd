// Normalization with a channel in each column (channels last). Sums run over blocks of rows in T,
// the blocks' sums in f64; the order is fixed by the shape.

#include <gradus/kernels/norm/in_double.h>
#include <gradus/kernels/norm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/flags.h>
#include <gradus/kernels/vector/lanes.h>
#include <gradus/kernels/vector/math.h>

namespace gradus::kernels {
namespace {

constexpr int64_t kTileElements = 8192;  // read twice from the first cache
constexpr int64_t kTileColumns = 512;    // at most
constexpr int64_t kBlockRows = 128;      // at most
constexpr int64_t kAdditions = 32;       // to a lane of a sum in T

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/// The offsets of a block's valid rows, from its first row on.
struct RowBlock {
  int64_t count = 0, offsets[kBlockRows];

  RowBlock(int64_t rows, int64_t row, const bool* valid) {
    for (int64_t i = 0; i < rows; ++i)
      if (!valid || valid[i]) offsets[count++] = i * row;
  }
};

/// f(block of rows, first row, first column, columns) over tiles that stay in the first cache.
template <class F>
inline void for_each_tile(int64_t rows, int64_t columns, const bool* valid, F f) {
  const int64_t width = larger(1, smaller(columns, kTileColumns));
  const int64_t height = smaller(kBlockRows, kTileElements / width);
  for (int64_t i = 0; i < rows; i += height) {
    const RowBlock block(smaller(height, rows - i), columns, valid ? valid + i : nullptr);
    for (int64_t j = 0; j < columns && block.count > 0; j += width)
      f(block, i, j, smaller(width, columns - j));
  }
}

/// f(first column, vectors, lanes) over strips of kParts vectors of columns, or of one.
template <class T, class F>
GRADUS_INLINE inline void for_each_strip(int64_t columns, F f) {
  constexpr int width = kWidth<T>;
  int64_t j = 0;
  for (; j + kParts * width <= columns; j += kParts * width)
    f(j, std::integral_constant<int, kParts>{}, AllLanes<T>{});
  for (; j + width <= columns; j += width) f(j, std::integral_constant<int, 1>{}, AllLanes<T>{});
  const int rest = static_cast<int>(columns - j);
  if (rest > 0)
    f(j, std::integral_constant<int, 1>{}, SomeLanes<T, true>{first_lanes<T>(rest), rest});
}

/// f(part, offset) for each vector of a strip in rows begin .. end - 1 of the block: parts are the
/// strip's vectors, or with one vector four rows take turns, so that four sums run beside each
/// other in any case.
template <class T, int vectors, class F>
GRADUS_INLINE inline void for_each_row(const RowBlock& block, int64_t begin, int64_t end, F f) {
  constexpr int rows = kParts / vectors;
  int64_t i = begin;
  for (; i + rows <= end; i += rows)
    unroll<kParts>([&](int k) GRADUS_INLINE {
      f(k, block.offsets[i + k / vectors] + k % vectors * kWidth<T>);
    });
  for (; i < end; ++i)
    unroll<vectors>([&](int k) GRADUS_INLINE { f(k, block.offsets[i] + k * kWidth<T>); });
}

/// The sums of a strip's columns from its parts.
template <class T, int vectors>
GRADUS_INLINE inline void join_parts(Vector<T> (&parts)[kParts]) {
  if constexpr (vectors == 1) parts[0] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

/// sums and products of a strip's columns: f(part, offset, sum, product) adds to them, at most
/// kAdditions times to a lane before they are added up.
template <class T, int vectors, class F>
GRADUS_INLINE inline void add_rows(const RowBlock& block, Vector<T> (&sums)[vectors],
                                   Vector<T> (&products)[vectors], F f) {
  constexpr int64_t step = kAdditions * kParts / vectors;
  for (int64_t i = 0; i < block.count; i += step) {
    Vector<T> sum[kParts] = {}, product[kParts] = {};
    for_each_row<T, vectors>(block, i, smaller(i + step, block.count),
                             [&](int k, int64_t at)
                                 GRADUS_INLINE { f(k % vectors, at, sum[k], product[k]); });
    join_parts<T, vectors>(sum);
    join_parts<T, vectors>(product);
    unroll<vectors>([&](int k) GRADUS_INLINE { sums[k] += sum[k], products[k] += product[k]; });
  }
}

/// near_j: about the mean of column j of the block; sum_j, squares_j: of its deviations from that.
template <class T>
void deviations(const RowBlock& block, int64_t columns, const T* x, T* near, T* sum, T* squares) {
  const T share = 1 / static_cast<T>(block.count);
  for_each_strip<T>(columns, [&](int64_t j, auto strip, auto lanes) GRADUS_INLINE {
    constexpr int vectors = decltype(strip)::value;
    const T* from = x + j;
    Vector<T> rough[kParts] = {}, sums[vectors] = {}, products[vectors] = {};
    for_each_row<T, vectors>(block, 0, block.count, [&](int k, int64_t at) GRADUS_INLINE {
      rough[k] += lanes.load(from + at);
    });
    join_parts<T, vectors>(rough);
    unroll<vectors>([&](int k) GRADUS_INLINE { rough[k] *= share; });
    add_rows<T, vectors>(block, sums, products,
                         [&](int column, int64_t at, Vector<T>& added, Vector<T>& multiplied)
                             GRADUS_INLINE {
                               const Vector<T> v = lanes.load(from + at) - rough[column];
                               added += v;
                               multiplied += v * v;
                             });
    unroll<vectors>([&](int k) GRADUS_INLINE {
      lanes.store(near + j + k * kWidth<T>, rough[k]);
      lanes.store(sum + j + k * kWidth<T>, sums[k]);
      lanes.store(squares + j + k * kWidth<T>, products[k]);
    });
  });
}

/// The block's moments from its deviations, together with those of `count` rows before.
template <class T>
void merge_block(int64_t columns, int64_t count, double* __restrict mean,
                 double* __restrict squares, int64_t block_count, const T* __restrict near,
                 const T* __restrict sum, const T* __restrict block_squares) {
  const auto n = static_cast<double>(block_count);
  const double share = n / (static_cast<double>(count) + n);
  const double each = 1 / n, weight = static_cast<double>(count) * share;
  for (int64_t j = 0; j < columns; ++j) {
    const double missed = static_cast<double>(sum[j]) * each;
    const double about = static_cast<double>(block_squares[j]) - missed * missed * n;
    const double delta = static_cast<double>(near[j]) + missed - mean[j];
    mean[j] += delta * share;
    squares[j] += (about < 0 ? 0 : about) + delta * delta * weight;
  }
}

void merge(int64_t columns, int64_t count, double* __restrict mean, double* __restrict squares,
           int64_t other_count, const double* __restrict other_mean,
           const double* __restrict other_squares) {
  if (other_count == 0) return;
  const double share = static_cast<double>(other_count) / static_cast<double>(count + other_count);
  const double weight = static_cast<double>(count) * share;
  for (int64_t j = 0; j < columns; ++j) {
    const double delta = other_mean[j] - mean[j];
    mean[j] += delta * share;
    squares[j] += other_squares[j] + delta * delta * weight;
  }
}

template <class T>
int64_t moments(int64_t rows, int64_t columns, const T* x, const bool* valid, double* mean,
                double* squares) {
  for (int64_t j = 0; j < columns; ++j) mean[j] = squares[j] = 0;
  int64_t total = 0, next = 0;
  for_each_tile(rows, columns, valid,
                [&](const RowBlock& block, int64_t i, int64_t j, int64_t width) {
                  alignas(64) T near[kTileColumns], sum[kTileColumns], square[kTileColumns];
                  if (j == 0) total = next, next += block.count;
                  deviations(block, width, x + i * columns + j, near, sum, square);
                  merge_block(width, total, mean + j, squares + j, block.count, near, sum, square);
                });
  return next;
}

template <class T, bool relu>
void normalize_as(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* x,
                  const bool* valid, T* y) {
  const T* __restrict mean = f.mean, * __restrict scale = f.scale, * __restrict shift = f.shift;
  for (int64_t i = 0; i < rows; ++i) {
    const T* __restrict from = x + i * columns;
    T* __restrict to = y + i * columns;
    if (valid && !valid[i]) {
      for (int64_t j = 0; j < columns; ++j) to[j] = 0;
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) {
      const T v = (from[j] - mean[j]) * scale[j] + shift[j];
      to[j] = relu && v < 0 ? T(0) : v;
    }
  }
}

template <class T>
void normalize(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* x,
               const bool* valid, T* y) {
  with_flags([&](auto relu) { normalize_as<T, relu>(rows, columns, f, x, valid, y); }, f.relu);
}

/// sum_j, product_j: sum dy and sum dy (x - mean) of column j of the block.
template <class T, bool relu>
void block_gradient_sums(const RowBlock& block, int64_t columns, const ColumnAffine<T>& f,
                         const T* x, const T* dy, T* sum, T* product) {
  for_each_strip<T>(columns, [&](int64_t j, auto strip, auto lanes) GRADUS_INLINE {
    constexpr int vectors = decltype(strip)::value;
    const T *p = x + j, *q = dy + j;
    Vector<T> mean[vectors], scale[vectors] = {}, shift[vectors] = {}, sums[vectors] = {},
                             products[vectors] = {};
    unroll<vectors>([&](int k) GRADUS_INLINE {
      const int64_t at = j + k * kWidth<T>;
      mean[k] = lanes.load(f.mean + at);
      if constexpr (relu) scale[k] = lanes.load(f.scale + at), shift[k] = lanes.load(f.shift + at);
    });
    add_rows<T, vectors>(block, sums, products,
                         [&](int column, int64_t at, Vector<T>& added, Vector<T>& multiplied)
                             GRADUS_INLINE {
                               const Vector<T> v = lanes.load(p + at) - mean[column];
                               Vector<T> g = lanes.load(q + at);
                               if constexpr (relu)
                                 g = v * scale[column] + shift[column] <= 0 ? Vector<T>{} : g;
                               added += g;
                               multiplied += g * v;
                             });
    unroll<vectors>([&](int k) GRADUS_INLINE {
      lanes.store(sum + j + k * kWidth<T>, sums[k]);
      lanes.store(product + j + k * kWidth<T>, products[k]);
    });
  });
}

template <class T>
void gradient_sums(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* x,
                   const bool* valid, const T* dy, double* dy_sum, double* dy_x_sum) {
  for_each_tile(
      rows, columns, valid, [&](const RowBlock& block, int64_t i, int64_t j, int64_t width) {
        alignas(64) T sum[kTileColumns], product[kTileColumns];
        const int64_t at = i * columns + j;
        const ColumnAffine<T> of_tile{f.mean + j, f.scale + j, f.shift + j};
        with_flags(
            [&](auto relu) {
              block_gradient_sums<T, relu>(block, width, of_tile, x + at, dy + at, sum, product);
            },
            f.relu);
        add_to(width, sum, dy_sum + j);
        add_to(width, product, dy_x_sum + j);
      });
}

template <class T, bool relu>
void gradient_as(int64_t rows, int64_t columns, const ColumnAffine<T>& f,
                 const T* __restrict mean_dy, const T* __restrict slope, const T* x,
                 const bool* valid, const T* dy, T* dx) {
  const T* __restrict mean = f.mean, * __restrict scale = f.scale, * __restrict shift = f.shift;
  for (int64_t i = 0; i < rows; ++i) {
    const T* __restrict p = x + i * columns;
    const T* __restrict q = dy + i * columns;
    T* __restrict to = dx + i * columns;
    if (valid && !valid[i]) {
      for (int64_t j = 0; j < columns; ++j) to[j] = 0;
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) {
      const T v = p[j] - mean[j], g = relu && v * scale[j] + shift[j] <= 0 ? T(0) : q[j];
      to[j] = (g - mean_dy[j] - v * slope[j]) * scale[j];
    }
  }
}

template <class T>
void gradient(int64_t rows, int64_t columns, const ColumnAffine<T>& f, const T* mean_dy,
              const T* slope, const T* x, const bool* valid, const T* dy, T* dx) {
  with_flags(
      [&](auto relu) { gradient_as<T, relu>(rows, columns, f, mean_dy, slope, x, valid, dy, dx); },
      f.relu);
}

template <class T>
constexpr ColumnNormKernels<T> kTable = {moments<T>, merge, normalize<T>, gradient_sums<T>,
                                         gradient<T>};

}  // namespace

GRADUS_TABLES(ColumnNormKernels, kTable)

}  // namespace gradus::kernels
