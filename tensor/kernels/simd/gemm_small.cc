// Register-tiled matrix products: a block of rows x up to kMaxVectors vectors of C stays in
// registers while k runs. The same micro-kernel serves matrices read in place and matrices packed
// into panels.

#include <gradus/tensor/kernels/gemm_table.h>
#include <gradus/tensor/kernels/isa.h>
#include <gradus/tensor/kernels/simd/vectors.h>

namespace gradus::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kAccumulators = 24, kMaxVectors = 4;
#else
constexpr int kAccumulators = 12, kMaxVectors = 2;
#endif
// Fewer rows than there are registers for when one vector is wide enough: enough to hide the
// latency.
constexpr int kMaxRows = 12;
constexpr int64_t kBlockK =
    256;  // k is cut into pieces of this size, so that a panel stays in the caches

template <class T>
constexpr int64_t kPanel = kMaxVectors* kWidth<T>* kBlockK;

constexpr int rows_for(int vectors) {
  return kAccumulators / vectors < kMaxRows ? kAccumulators / vectors : kMaxRows;
}

/// One register tile: element (i,p) of A is a[i * row_a + p * step_a], row p of B begins at b + p *
/// ldb, `last` is how many elements of the last vector count.
template <class T>
struct Tile {
  int64_t k;
  const T* a;
  int64_t row_a, step_a;
  const T* b;
  int64_t ldb;
  T alpha, beta;
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
  unroll<rows>([&](int i) __attribute__((always_inline)) {
    unroll<vectors>([&](int v) __attribute__((always_inline)) {
      T* c = tile.c + i * tile.ldc + v * width;
      Vector<T> y = alpha * sum[i][v];
      if (partial && v == vectors - 1) {
        if (beta != T(0)) y += beta * load_first(c, last);
        store_first(c, y, last);
      } else {
        if (beta != T(0)) y += beta * load(c);
        store(c, y);
      }
    });
  });
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

template <class T>
struct TileFunctions {
  TileFunction<T> at[kMaxVectors][kMaxRows][2] = {};

  template <int vectors, int rows>
  constexpr void fill() {
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

/// [0, count) in the fewest parts of at most `limit`, their sizes as equal as can be.
struct Parts {
  Parts(int64_t count, int64_t limit)
      : number((count + limit - 1) / limit), size(count / number), longer(count % number) {}
  int64_t length(int64_t part) const { return size + (part < longer); }
  int64_t number, size, longer;
};

/// Rows p .. p + k - 1, columns j .. j + columns - 1 of op(B), ld apart.
template <class T>
void pack_b(const GemmProblem<T>& g, int64_t p, int64_t k, int64_t j, int64_t columns, T* to,
            int64_t ld) {
  if (g.tb == Transpose::yes) {
    transpose(g.b + j * g.ldb + p, g.ldb, columns, k, to, ld);
    return;
  }
  for (int64_t q = 0; q < k; ++q) {
    const T* from = g.b + (p + q) * g.ldb + j;
    for (int64_t x = 0; x < columns; ++x) to[q * ld + x] = from[x];
  }
}

/// Columns p .. p + k - 1 of op(A): block after block of rows, within a block k after k.
template <class T>
void pack_a(const GemmProblem<T>& g, Parts blocks, int64_t p, int64_t k, T* to) {
  for (int64_t part = 0, i = 0; part < blocks.number; ++part) {
    const int64_t rows = blocks.length(part);
    if (g.ta == Transpose::yes) {
      for (int64_t q = 0; q < k; ++q)
        for (int64_t r = 0; r < rows; ++r) to[q * rows + r] = g.a[(p + q) * g.lda + i + r];
    } else {
      transpose(g.a + i * g.lda + p, g.lda, rows, k, to, rows);
    }
    to += rows * k;
    i += rows;
  }
}

/// The columns of one panel for one piece of k; A in place, or packed for `rows` rows a block.
template <class T>
void multiply_panel(const GemmProblem<T>& g, int64_t p, int64_t k, int64_t j, int64_t columns,
                    const T* b, int64_t ldb, const T* packed_a) {
  const int vectors = static_cast<int>((columns + kWidth<T> - 1) / kWidth<T>);
  const int last = static_cast<int>(columns - (vectors - 1) * kWidth<T>);
  const Parts blocks(g.m, rows_for(packed_a ? kMaxVectors : vectors));
  Tile<T> tile{k, nullptr, 0, 0, b, ldb, g.alpha, p == 0 ? g.beta : T(1), g.c + j, g.ldc, last};
  const bool at = g.ta == Transpose::yes;
  tile.a = packed_a ? packed_a : at ? g.a + p * g.lda : g.a + p;
  tile.row_a = packed_a || at ? 1 : g.lda;
  tile.step_a = at ? g.lda : 1;
  const auto& functions = kTiles<T>.at[vectors - 1];
  for (int64_t part = 0; part < blocks.number; ++part) {
    const int64_t rows = blocks.length(part);
    if (packed_a) tile.step_a = rows;
    functions[rows - 1][last != kWidth<T>](tile);
    tile.a += rows * (packed_a ? k : tile.row_a);
    tile.c += rows * g.ldc;
  }
}

template <class T>
void multiply_in_place(const GemmProblem<T>& g) {
  const int64_t vectors = (g.n + kWidth<T> - 1) / kWidth<T>;
  const Parts panels(vectors, kMaxVectors);
  for (int64_t p = 0; p < g.k; p += kBlockK) {
    const int64_t k = g.k - p < kBlockK ? g.k - p : kBlockK;
    for (int64_t part = 0, j = 0; part < panels.number; ++part) {
      const int64_t width = panels.length(part) * kWidth<T>;
      multiply_panel<T>(g, p, k, j, width < g.n - j ? width : g.n - j, g.b + p * g.ldb + j, g.ldb,
                        nullptr);
      j += width;
    }
  }
}

template <class T>
void multiply_by_panels(const GemmProblem<T>& g, T* panel, T* packed_a) {
  const int64_t vectors = (g.n + kWidth<T> - 1) / kWidth<T>;
  const Parts panels(vectors, kMaxVectors);
  for (int64_t p = 0; p < g.k; p += kBlockK) {
    const int64_t k = g.k - p < kBlockK ? g.k - p : kBlockK;
    if (packed_a) pack_a(g, Parts(g.m, rows_for(kMaxVectors)), p, k, packed_a);
    for (int64_t part = 0, j = 0; part < panels.number; ++part) {
      const int64_t width = panels.length(part) * kWidth<T>;
      const int64_t columns = width < g.n - j ? width : g.n - j;
      pack_b(g, p, k, j, columns, panel, width);
      multiply_panel<T>(g, p, k, j, columns, panel, width, packed_a);
      j += width;
    }
  }
}

/// Apart from small(), so that products which need no panel do not touch its stack.
template <class T>
__attribute__((noinline)) void multiply_with_stack_panel(const GemmProblem<T>& g) {
  alignas(64) T panel[kPanel<T>];
  multiply_by_panels<T>(g, panel, nullptr);
}

template <class T>
void small(const GemmProblem<T>& g) {
  if (g.tb == Transpose::yes)
    multiply_with_stack_panel(g);
  else
    multiply_in_place(g);
}

template <class T>
void packed(const GemmProblem<T>& g, T* workspace) {
  multiply_by_panels(g, workspace, workspace + kPanel<T>);
}

template <class T>
int64_t packed_workspace(int64_t m) {
  return kPanel<T> + m * kBlockK;
}

template <class T>
constexpr GemmKernels<T> kKernels = {small<T>, packed<T>, packed_workspace<T>};

}  // namespace

template <>
const GemmKernels<float>& table_for<GemmKernels<float>, Isa::GRADUS_ISA>() {
  return kKernels<float>;
}
template <>
const GemmKernels<double>& table_for<GemmKernels<double>, Isa::GRADUS_ISA>() {
  return kKernels<double>;
}

}  // namespace gradus::kernels
