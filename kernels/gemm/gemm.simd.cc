// Register-tiled matrix products: a block of rows x up to kMaxVectors vectors of C stays in
// registers while k runs. The same micro-kernel serves matrices read in place and matrices copied
// into panels.

#include <gradus/kernels/gemm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/lanes.h>
#include <gradus/kernels/vector/vectors.h>

namespace gradus::kernels {
namespace {

constexpr int kAccumulators = Level::kProductSums, kMaxVectors = Level::kProductVectors;
// Fewer rows than there are registers for when one vector is wide enough: enough to hide the
// latency.
constexpr int kMaxRows = 12;
// k is cut into pieces of this size, so that a panel stays in the caches; into shorter ones where
// rows of A^T have to stay there as well.
constexpr int64_t kBlockK = 256, kShortBlockK = 128;

template <class T>
constexpr int64_t kPanel = kMaxVectors* kWidth<T>* kBlockK;

constexpr int rows_for(int vectors) {
  return kAccumulators / vectors < kMaxRows ? kAccumulators / vectors : kMaxRows;
}

/// One register tile: element (i,p) of A is a[i * row_a + p * step_a], row p of B begins at b + p *
/// ldb, `last` is how many elements of the last vector count. beta multiplies `old`: C or, where
/// old_row is 0, one row.
template <class T>
struct Tile {
  int64_t k;
  const T* a;
  int64_t row_a, step_a;
  const T* b;
  int64_t ldb;
  T alpha, beta;
  const T* old;
  int64_t old_row;
  T* c;
  int64_t ldc;
  int last;
};

template <class T, int rows, int vectors, bool partial>
void multiply_tile(const Tile<T>& tile) {
  constexpr int width = kWidth<T>;
  Vector<T> sum[rows][vectors] = {};
  const T* a = tile.a;
  const T* b = tile.b;
  const int64_t row_a = tile.row_a, step_a = tile.step_a, ldb = tile.ldb;
  const int last = tile.last;
  for (int64_t p = tile.k; p > 0; --p, a += step_a, b += ldb) {
    Vector<T> row[vectors];
    unroll<vectors>([&](int v) __attribute__((always_inline)) {
      row[v] = partial && v == vectors - 1 ? load_first(b + v * width, last) : load(b + v * width);
    });
    unroll<rows>([&](int i) __attribute__((always_inline)) {
      const T x = a[i * row_a];
      unroll<vectors>([&](int v) __attribute__((always_inline)) { sum[i][v] += x * row[v]; });
    });
  }
  const T alpha = tile.alpha, beta = tile.beta;
  const T* old = tile.old;
  T* c = tile.c;
  unroll<rows>([&](int i) __attribute__((always_inline)) {
    unroll<vectors>([&](int v) __attribute__((always_inline)) {
      Vector<T> y = alpha * sum[i][v];
      if (partial && v == vectors - 1) {
        if (beta != T(0)) y += beta * load_first(old + v * width, last);
        store_first(c + v * width, y, last);
      } else {
        if (beta != T(0)) y += beta * load(old + v * width);
        store(c + v * width, y);
      }
    });
    old += tile.old_row;
    c += tile.ldc;
  });
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

template <class T>
struct TileFunctions {
  TileFunction<T> at[kMaxVectors][kMaxRows][2] = {};
  int64_t most_rows[kMaxVectors] = {};

  template <int vectors, int rows>
  constexpr void fill() {
    most_rows[vectors - 1] = rows_for(vectors);
    at[vectors - 1][rows - 1][0] = multiply_tile<T, rows, vectors, false>;
    at[vectors - 1][rows - 1][1] = multiply_tile<T, rows, vectors, true>;
    if constexpr (rows > 1)
      fill<vectors, rows - 1>();
    else if constexpr (vectors > 1)
      fill<vectors - 1, rows_for(vectors - 1)>();
  }
  constexpr TileFunctions() { fill<kMaxVectors, rows_for(kMaxVectors)>(); }
};
template <class T>
constexpr TileFunctions<T> kTiles;

/// [0, count) in the fewest ranges of at most `limit`, their lengths as equal as can be.
struct EvenSplit {
  EvenSplit(int64_t count, int64_t limit) : number(1), size(count), longer(0) {
    if (count <= limit) return;
    number = count <= 2 * limit ? 2 : (count + limit - 1) / limit;
    size = number == 2 ? count / 2 : count / number;  // small products feel a division
    longer = count - size * number;
  }
  int64_t length(int64_t part) const { return size + (part < longer); }
  int64_t number, size, longer;
};

/// Copies rows of n elements in whole vectors: up to a vector more is written.
template <class T>
void copy_rows(const T* from, int64_t from_row, int64_t rows, int64_t n, T* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i, from += from_row, to += to_row) {
    int64_t j = 0;
    for (; j + kWidth<T> <= n; j += kWidth<T>) store(to + j, load(from + j));
    if (j < n) store(to + j, load_first(from + j, static_cast<int>(n - j)));
  }
}

/// Rows p .. p + k - 1, columns j .. j + columns - 1 of op(B), ld apart.
template <class T>
void pack_b(const GemmProblem<T>& g, int64_t p, int64_t k, int64_t j, int64_t columns, T* to,
            int64_t ld) {
  if (g.tb == Transpose::yes)
    transpose(g.b + j * g.ldb + p, g.ldb, columns, k, to, ld);
  else
    copy_rows(g.b + p * g.ldb + j, g.ldb, k, columns, to, ld);
}

/// How far apart rows of a copy of A^T lie: an odd number of cache lines, so that rows one below
/// the other do not meet in the caches' sets.
template <class T>
constexpr int64_t copied_row(int64_t m) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
  return ((m + line - 1) / line | 1) * line;
}

/// A where it lies, or a copy: element (i, p) at a[i * row + p * step].
template <class T>
struct Left {
  const T* a;
  int64_t row, step;
};

template <class T>
Left<T> left_in_place(const GemmProblem<T>& g, int64_t p) {
  if (g.ta == Transpose::yes) return {g.a + p * g.lda, 1, g.lda};
  return {g.a + p, g.lda, 1};
}

/// The columns of one panel for one piece of k.
template <class T>
void multiply_panel(const GemmProblem<T>& g, int64_t p, int64_t k, int64_t j, int64_t columns,
                    const Left<T>& left, const T* b, int64_t ldb) {
  const int vectors = static_cast<int>((columns + kWidth<T> - 1) / kWidth<T>);
  const int last = static_cast<int>(columns - (vectors - 1) * kWidth<T>);
  const EvenSplit blocks(g.m, kTiles<T>.most_rows[vectors - 1]);
  const bool first = p == 0, from_row = first && g.row;
  Tile<T> tile{k,
               left.a,
               left.row,
               left.step,
               b,
               ldb,
               g.alpha,
               first ? g.beta : T(1),
               (from_row ? g.row : g.c) + j,
               from_row ? 0 : g.ldc,
               g.c + j,
               g.ldc,
               last};
  const auto& functions = kTiles<T>.at[vectors - 1];
  for (int64_t part = 0; part < blocks.number; ++part) {
    const int64_t rows = blocks.length(part);
    functions[rows - 1][last != kWidth<T>](tile);
    tile.a += rows * left.row;
    tile.old += rows * tile.old_row;
    tile.c += rows * g.ldc;
  }
}

/// f(p, k, j, columns, width) for each panel of up to kMaxVectors vectors of columns, within pieces
/// of at most `block` of k.
template <class T, class F>
void for_each_panel(int64_t n, int64_t all_k, int64_t block, F f) {
  const int64_t vectors = (n + kWidth<T> - 1) / kWidth<T>;
  if (vectors <= kMaxVectors && all_k <= block) return f(0, all_k, 0, n, vectors * kWidth<T>);
  const EvenSplit panels(vectors, kMaxVectors);
  for (int64_t p = 0; p < all_k; p += block) {
    const int64_t k = all_k - p < block ? all_k - p : block;
    for (int64_t part = 0, j = 0; part < panels.number; ++part) {
      const int64_t width = panels.length(part) * kWidth<T>;
      f(p, k, j, width < n - j ? width : n - j, width);
      j += width;
    }
  }
}

template <class T>
void in_place(const GemmProblem<T>& g) {
  for_each_panel<T>(
      g.n, g.k, kBlockK, [&](int64_t p, int64_t k, int64_t j, int64_t columns, int64_t) {
        multiply_panel<T>(g, p, k, j, columns, left_in_place(g, p), g.b + p * g.ldb + j, g.ldb);
      });
}

/// How many rows of B meet a row of A at a time.
constexpr int kDotsTogether = 8;

/// a times each of `rows` rows of B.
template <class T, int rows>
void dots_of_rows(const T* a, const T* b, int64_t ldb, int64_t k, T* y) {
  constexpr int width = kWidth<T>;
  Vector<T> sum[rows] = {};
  int64_t p = 0;
  for (; p + width <= k; p += width) {
    const Vector<T> x = load(a + p);
    unroll<rows>([&](int i)
                     __attribute__((always_inline)) { sum[i] += x * load(b + i * ldb + p); });
  }
  if (const int last = static_cast<int>(k - p); last > 0) {
    const Vector<T> x = load_first(a + p, last);
    unroll<rows>([&](int i) __attribute__((always_inline)) {
      sum[i] += x * load_first(b + i * ldb + p, last);
    });
  }
  unroll<rows>([&](int i) __attribute__((always_inline)) { y[i] = horizontal_sum(sum[i]); });
}

template <class T>
void dots(const GemmProblem<T>& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    const T* a = g.a + i * g.lda;
    T* c = g.c + i * g.ldc;
    const T* old = g.row ? g.row : c;
    for (int64_t j = 0, count; j < g.n; j += count) {
      T y[kDotsTogether];
      count = g.n - j < kDotsTogether ? 1 : kDotsTogether;
      if (count == 1)
        dots_of_rows<T, 1>(a, g.b + j * g.ldb, g.ldb, g.k, y);
      else
        dots_of_rows<T, kDotsTogether>(a, g.b + j * g.ldb, g.ldb, g.k, y);
      for (int64_t q = 0; q < count; ++q)
        c[j + q] = g.beta == T(0) ? g.alpha * y[q] : g.alpha * y[q] + g.beta * old[j + q];
    }
  }
}

template <class T>
void panels(const GemmProblem<T>& g) {
  alignas(64) T panel[kPanel<T>];
  for_each_panel<T>(g.n, g.k, kBlockK,
                    [&](int64_t p, int64_t k, int64_t j, int64_t columns, int64_t width) {
                      pack_b(g, p, k, j, columns, panel, width);
                      multiply_panel<T>(g, p, k, j, columns, left_in_place(g, p), panel, width);
                    });
}

/// A, which is transposed, goes through a copy, and B through a panel.
template <class T>
void copied(const GemmProblem<T>& g, T* workspace) {
  T *panel = workspace, *copy = workspace + kPanel<T>;
  const int64_t row = copied_row<T>(g.m);
  for_each_panel<T>(g.n, g.k, kShortBlockK,
                    [&](int64_t p, int64_t k, int64_t j, int64_t columns, int64_t width) {
                      if (j == 0) copy_rows(g.a + p * g.lda, g.lda, k, g.m, copy, row);
                      pack_b(g, p, k, j, columns, panel, width);
                      multiply_panel<T>(g, p, k, j, columns, {copy, 1, row}, panel, width);
                    });
}

template <class T>
void pack(const GemmProblem<T>& g, T* to) {
  for_each_panel<T>(g.n, g.k, kBlockK,
                    [&](int64_t p, int64_t k, int64_t j, int64_t columns, int64_t width) {
                      pack_b(g, p, k, j, columns, to, width);
                      to += k * width;
                    });
}

template <class T>
void prepacked(const GemmProblem<T>& g, const T* b) {
  for_each_panel<T>(g.n, g.k, kBlockK,
                    [&](int64_t p, int64_t k, int64_t j, int64_t columns, int64_t width) {
                      multiply_panel<T>(g, p, k, j, columns, left_in_place(g, p), b, width);
                      b += k * width;
                    });
}

template <class T>
int64_t packed_size(int64_t n, int64_t k) {
  return (n + kWidth<T> - 1) / kWidth<T> * kWidth<T> * k;
}

template <class T>
int64_t copied_workspace(int64_t m) {
  return kPanel<T> + copied_row<T>(m) * kShortBlockK;
}

template <class T>
constexpr GemmKernels<T> kKernels = {in_place<T>,         dots<T>, panels<T>,    copied<T>,
                                     copied_workspace<T>, pack<T>, prepacked<T>, packed_size<T>,
                                     Level::kThinToBlas};

}  // namespace

GRADUS_TABLES(GemmKernels, kKernels)

}  // namespace gradus::kernels
