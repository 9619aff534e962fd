#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/reduce/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus::kernels {
namespace {

constexpr int64_t kPiece = 1 << 16;      // of a row that threads may share
constexpr int64_t kTile = 512;           // columns that a thread takes at a time
constexpr int64_t kShortestPiece = 256;  // of columns

template <class T>
void sum_rows(int64_t rows, int64_t n, const T* x, T* y) {
  const auto kernel = kernels<ReduceKernels<T>>().sum;
  const int64_t pieces = ceil_div(n, kPiece);
  if (pieces <= 1) {
    parallel_for_rows(rows, n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(kernel(n, x + i * n));
    });
    return;
  }
  double* parts = workspace<double, struct RowParts>(rows * pieces);
  parallel_for(rows * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t first = k % pieces * kPiece;
      parts[k] = kernel(std::min(kPiece, n - first), x + k / pieces * n + first);
    }
  });
  for (int64_t i = 0; i < rows; ++i) {
    double total = 0;
    for (int64_t k = 0; k < pieces; ++k) total += parts[i * pieces + k];
    y[i] = static_cast<T>(total);
  }
}

/// f(o, j, columns) for each tile of columns of (outer, n, inner), spread over the threads.
template <class F>
void for_each_tile(int64_t outer, int64_t n, int64_t inner, F f) {
  if (outer == 1 && inner <= kTile) return f(0, 0, inner);  // the rule for a gradient of a bias
  const int64_t tiles = ceil_div(inner, kTile);
  parallel_for_rows(outer * tiles, n * std::min(inner, kTile), kGrain,
                    [&](int64_t begin, int64_t end) {
                      int64_t o = begin / tiles, j = begin % tiles * kTile;
                      for (int64_t k = begin; k < end; ++k) {
                        f(o, j, std::min(kTile, inner - j));
                        j += kTile;
                        if (j >= inner) ++o, j = 0;
                      }
                    });
}

/// Columns are cut into tiles, and n into pieces where that is what the threads have to share.
template <class T>
void sum_columns(int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  if (n <= kSumRows) {
    const auto block = kernels<ReduceKernels<T>>().sum_block;
    for_each_tile(outer, n, inner, [&](int64_t o, int64_t j, int64_t columns) {
      block(n, columns, x + o * n * inner + j, inner, y + o * inner + j);
    });
    return;
  }
  const auto kernel = kernels<ReduceKernels<T>>().sum_columns;
  const int64_t tiles = ceil_div(inner, kTile), width = std::min(inner, kTile);
  const int64_t piece = std::max(kShortestPiece, kPiece / width), pieces = ceil_div(n, piece);
  if (pieces <= 1) {
    for_each_tile(outer, n, inner, [&](int64_t o, int64_t j, int64_t columns) {
      double sums[kTile];
      std::fill_n(sums, columns, 0.0);
      kernel(n, columns, x + o * n * inner + j, inner, sums);
      T* to = y + o * inner + j;
      for (int64_t i = 0; i < columns; ++i) to[i] = static_cast<T>(sums[i]);
    });
    return;
  }
  double* parts = workspace<double, struct ColumnParts>(outer * pieces * inner);
  parallel_for(outer * pieces * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t j = k % tiles * kTile, columns = std::min(kTile, inner - j);
      const int64_t part = k / tiles, first = part % pieces * piece;
      double* sums = parts + part * inner + j;
      std::fill_n(sums, columns, 0.0);
      kernel(std::min(piece, n - first), columns, x + (part / pieces * n + first) * inner + j,
             inner, sums);
    }
  });
  for (int64_t o = 0; o < outer; ++o) {
    double* total = parts + o * pieces * inner;
    for (int64_t k = 1; k < pieces; ++k)
      for (int64_t j = 0; j < inner; ++j) total[j] += total[k * inner + j];
    for (int64_t j = 0; j < inner; ++j) y[o * inner + j] = static_cast<T>(total[j]);
  }
}

template <class T>
using RowExtremum = Extremum<T> (*)(int64_t n, const T* x, bool with_index);

template <class T>
void extremum_rows(RowExtremum<T> kernel, int64_t rows, int64_t n, const T* x, T* y,
                   int64_t* index) {
  if (rows != 1 || n <= kPiece) {
    parallel_for_rows(rows, n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Extremum<T> found = kernel(n, x + i * n, index != nullptr);
        y[i] = found.value;
        if (index) index[i] = found.index;
      }
    });
    return;
  }
  // The extremum of the pieces' extrema.
  const int64_t pieces = ceil_div(n, kPiece);
  T* values = workspace<T, struct Values>(pieces);
  int64_t* indices = workspace<int64_t, struct Indices>(pieces);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Extremum<T> found =
          kernel(std::min(kPiece, n - k * kPiece), x + k * kPiece, index != nullptr);
      values[k] = found.value;
      indices[k] = k * kPiece + found.index;
    }
  });
  const Extremum<T> best = kernel(pieces, values, index != nullptr);
  *y = best.value;
  if (index) *index = indices[best.index];
}

template <class T>
using ColumnExtremum = void (*)(int64_t rows, int64_t columns, const T* x, int64_t row, T* y,
                                int64_t* index);

template <class T>
void extremum_columns(ColumnExtremum<T> kernel, int64_t outer, int64_t n, int64_t inner, const T* x,
                      T* y, int64_t* index) {
  for_each_tile(outer, n, inner, [&](int64_t o, int64_t j, int64_t columns) {
    const int64_t to = o * inner + j;
    kernel(n, columns, x + o * n * inner + j, inner, y + to, index ? index + to : nullptr);
  });
}

}  // namespace

template <class T>
void sum(int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  if (inner == 0) return;
  inner == 1 ? sum_rows(outer, n, x, y) : sum_columns(outer, n, inner, x, y);
}

template <class T>
double sum_of_squares(int64_t n, const T* x) {
  const auto kernel = kernels<ReduceKernels<T>>().sum_of_squares;
  if (n <= kPiece) return kernel(n, x);
  const int64_t pieces = ceil_div(n, kPiece);
  double* parts = workspace<double, struct SquareParts>(pieces);
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    parts[begin / kPiece] = kernel(end - begin, x + begin);
  });
  double total = 0;
  for (int64_t k = 0; k < pieces; ++k) total += parts[k];
  return total;
}

namespace {

/// By the kernel for rows where the middle axis is the last, else by the one for columns.
template <class T, class Rows, class Columns>
void extremum(Rows rows, Columns columns, int64_t outer, int64_t n, int64_t inner, const T* x, T* y,
              int64_t* index) {
  if (inner == 0) return;
  inner == 1 ? extremum_rows(rows, outer, n, x, y, index)
             : extremum_columns(columns, outer, n, inner, x, y, index);
}

}  // namespace

template <class T>
void max(int64_t outer, int64_t n, int64_t inner, const T* x, T* y, int64_t* index) {
  const ReduceKernels<T>& table = kernels<ReduceKernels<T>>();
  extremum(table.max, table.max_columns, outer, n, inner, x, y, index);
}

template <class T>
void min(int64_t outer, int64_t n, int64_t inner, const T* x, T* y, int64_t* index) {
  const ReduceKernels<T>& table = kernels<ReduceKernels<T>>();
  extremum(table.min, table.min_columns, outer, n, inner, x, y, index);
}

template <class T>
bool all_finite(int64_t n, const T* x) {
  return kernels<ReduceKernels<T>>().all_finite(n, x);
}

GRADUS_INSTANTIATE(sum<T>, sum_of_squares<T>, max<T>, min<T>, all_finite<T>)

}  // namespace gradus::kernels
