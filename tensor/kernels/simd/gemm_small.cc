// Register-tiled matrix products: a block of rows x up to kMaxVectors vectors of C stays in
// registers while k runs. The same micro-kernel serves matrices read in place and matrices packed
// into panels.

#include <gradus/tensor/kernels/gemm_table.h>
#include <gradus/tensor/kernels/isa.h>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace gradus::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kAccumulators = 24, kMaxVectors = 4;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kAccumulators = 12, kMaxVectors = 2;
#else
constexpr int kVectorBytes = 16, kAccumulators = 12, kMaxVectors = 2;
#endif
// Fewer rows than there are registers for when one vector is wide enough: enough to hide the
// latency.
constexpr int kMaxRows = 12;
constexpr int64_t kBlockK =
    256;  // k is cut into pieces of this size, so that a panel stays in the caches

template <class T>
constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
template <class T>
constexpr int64_t kPanel = kMaxVectors* kWidth<T>* kBlockK;

constexpr int rows_for(int vectors) {
  return kAccumulators / vectors < kMaxRows ? kAccumulators / vectors : kMaxRows;
}

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}
template <class T>
inline void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = v;
}

/// The first `count` (1 to width) elements; the others are 0, or left alone in memory.
#if defined(__AVX512F__)
inline Vector<float> load_first(const float* p, int count) {
  return Vector<float>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p));
}
inline Vector<double> load_first(const double* p, int count) {
  return Vector<double>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p));
}
inline void store_first(float* p, Vector<float> v, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), __m512(v));
}
inline void store_first(double* p, Vector<double> v, int count) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), __m512d(v));
}
#elif defined(__AVX2__)
constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
constexpr int64_t kMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
inline __m256i mask_for(const float*, int count) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask32 + 8 - count));
}
inline __m256i mask_for(const double*, int count) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask64 + 4 - count));
}
inline Vector<float> load_first(const float* p, int count) {
  return Vector<float>(_mm256_maskload_ps(p, mask_for(p, count)));
}
inline Vector<double> load_first(const double* p, int count) {
  return Vector<double>(_mm256_maskload_pd(p, mask_for(p, count)));
}
inline void store_first(float* p, Vector<float> v, int count) {
  _mm256_maskstore_ps(p, mask_for(p, count), __m256(v));
}
inline void store_first(double* p, Vector<double> v, int count) {
  _mm256_maskstore_pd(p, mask_for(p, count), __m256d(v));
}
#else
template <class T>
inline Vector<T> load_first(const T* p, int count) {
  Vector<T> v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
template <class T>
inline void store_first(T* p, Vector<T> v, int count) {
  for (int i = 0; i < count; ++i) p[i] = v[i];
}
#endif

/// f(0), f(1), ... f(count - 1), unrolled, so that an array indexed by it lives in registers.
template <int count, int index = 0, class F>
inline __attribute__((always_inline)) void unroll(F f) {
  if constexpr (index < count) {
    f(index);
    unroll<count, index + 1>(f);
  }
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

/// Transposes a block of the stored B (columns, k) into rows of a panel: to[p * ld + j] = from[j *
/// ldb + p].
#if defined(__AVX__)
inline void transpose_block(const float* from, int64_t ldb, float* to, int64_t ld) {
  __m256 r[8];  // row j of the upper half beside row j + 4: only in-lane shuffles remain
  for (int j = 0; j < 4; ++j) {
    for (int half = 0; half < 2; ++half)
      r[2 * j + half] =
          _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + j * ldb + 4 * half)),
                               _mm_loadu_ps(from + (j + 4) * ldb + 4 * half), 1);
  }
  for (int half = 0; half < 2; ++half) {
    const __m256 t0 = _mm256_unpacklo_ps(r[half], r[2 + half]);
    const __m256 t1 = _mm256_unpackhi_ps(r[half], r[2 + half]);
    const __m256 t2 = _mm256_unpacklo_ps(r[4 + half], r[6 + half]);
    const __m256 t3 = _mm256_unpackhi_ps(r[4 + half], r[6 + half]);
    float* row = to + 4 * half * ld;
    _mm256_storeu_ps(row, _mm256_shuffle_ps(t0, t2, 0x44));
    _mm256_storeu_ps(row + ld, _mm256_shuffle_ps(t0, t2, 0xee));
    _mm256_storeu_ps(row + 2 * ld, _mm256_shuffle_ps(t1, t3, 0x44));
    _mm256_storeu_ps(row + 3 * ld, _mm256_shuffle_ps(t1, t3, 0xee));
  }
}
inline void transpose_block(const double* from, int64_t ldb, double* to, int64_t ld) {
  for (int half = 0; half < 2; ++half) {
    __m256d r[2];
    for (int j = 0; j < 2; ++j)
      r[j] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(from + j * ldb + 2 * half)),
                                  _mm_loadu_pd(from + (j + 2) * ldb + 2 * half), 1);
    double* row = to + 2 * half * ld;
    _mm256_storeu_pd(row, _mm256_unpacklo_pd(r[0], r[1]));
    _mm256_storeu_pd(row + ld, _mm256_unpackhi_pd(r[0], r[1]));
  }
}
template <class T>
constexpr int64_t kBlock = 32 / static_cast<int64_t>(sizeof(T));
#else
template <class T>
void transpose_block(const T* from, int64_t, T* to, int64_t) {
  *to = *from;
}
template <class T>
constexpr int64_t kBlock = 1;
#endif

template <class T>
void transpose(const T* from, int64_t ldb, int64_t columns, int64_t k, T* to, int64_t ld) {
  constexpr int64_t block = kBlock<T>;
  const int64_t full_columns = columns - columns % block, full_k = k - k % block;
  for (int64_t j = 0; j < full_columns; j += block)
    for (int64_t p = 0; p < full_k; p += block)
      transpose_block(from + j * ldb + p, ldb, to + p * ld + j, ld);
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t p = j < full_columns ? full_k : 0; p < k; ++p) to[p * ld + j] = from[j * ldb + p];
}

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
