#include <gradus/base/error.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/gemm/gemm.h>
#include <gradus/kernels/gemm/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <climits>

namespace gradus::kernels {
namespace {

// Counted in multiplications; measured, docs/decisions/own_products.md. Below kLarge our kernels
// are as fast as OpenBLAS or faster; tiles and pieces are of a grain at least.
constexpr int64_t kLarge = int64_t{1} << 31;
// Few rows do not pay for transposing B, and OpenBLAS has kernels for some levels that need not.
constexpr int64_t kThinRows = 16, kThin = int64_t{1} << 22;
constexpr int64_t kMaxTiles = 16;
// One row does not pay for transposing B at all, where rows are long enough for dot products; a
// longer sum would lose digits.
constexpr int64_t kShortestDot = 64, kLongestDot = 1024;
// Tiles of more are halved, into multiples of what is worked on together.
constexpr int64_t kTileRows = 32, kTileColumns = 64, kRowsTogether = 12, kColumnsTogether = 16;
// From here on a transposed A pays for copying it; tiles are then not cut below kCopiedTile.
constexpr int64_t kCopied = int64_t{1} << 20, kCopiedColumns = 64, kCopiedTile = 96;
// From so many rows on, rows of B close to each other pay for copying them.
constexpr int64_t kManyRows = 64;
// k is summed in pieces where C alone has too few tiles.
constexpr int64_t kPieceOfK = 4096;
constexpr int64_t kSmallC = int64_t{1} << 16;

void call_blas(const GemmProblem<float>& g) {
  const Blas& library = blas();
  const BlasCall call;
  library.sgemm(101, g.ta == Transpose::yes ? 112 : 111, g.tb == Transpose::yes ? 112 : 111,
                static_cast<int>(g.m), static_cast<int>(g.n), static_cast<int>(g.k), g.alpha, g.a,
                static_cast<int>(g.lda), g.b, static_cast<int>(g.ldb), g.beta, g.c,
                static_cast<int>(g.ldc));
}
void call_blas(const GemmProblem<double>& g) {
  const Blas& library = blas();
  const BlasCall call;
  library.dgemm(101, g.ta == Transpose::yes ? 112 : 111, g.tb == Transpose::yes ? 112 : 111,
                static_cast<int>(g.m), static_cast<int>(g.n), static_cast<int>(g.k), g.alpha, g.a,
                static_cast<int>(g.lda), g.b, static_cast<int>(g.ldb), g.beta, g.c,
                static_cast<int>(g.ldc));
}

template <class T>
GemmProblem<T> with_row_in_c(GemmProblem<T> g) {
  if (g.row)
    for (int64_t i = 0; i < g.m; ++i) std::copy_n(g.row, g.n, g.c + i * g.ldc);
  g.row = nullptr;
  return g;
}

GemmPath own_path(Transpose ta, Transpose tb, int64_t m) {
  const bool pays = m >= kManyRows && ta == Transpose::no;
  return tb == Transpose::yes || pays ? GemmPath::panels : GemmPath::in_place;
}

/// dots for one row of A and a transposed B, else automatic.
GemmPath path_of_one_row(Transpose ta, Transpose tb, int64_t m, int64_t k) {
  const bool dots = m == 1 && tb == Transpose::yes && ta == Transpose::no && k >= kShortestDot &&
                    k <= kLongestDot;
  return dots ? GemmPath::dots : GemmPath::automatic;
}

/// All products of all paths; automatic: that of ours which suits the size.
template <class T>
void multiply(const GemmProblem<T>& g, GemmPath path) {
  const GemmKernels<T>& table = kernels<GemmKernels<T>>();
  if (path == GemmPath::automatic) path = own_path(g.ta, g.tb, g.m);
  if (path == GemmPath::in_place) return table.in_place(g);
  if (path == GemmPath::panels) return table.panels(g);
  if (path == GemmPath::dots) return table.dots(g);
  if (path == GemmPath::openblas) return call_blas(with_row_in_c(g));
  struct Copies;
  if (path == GemmPath::copied)
    return table.copied(g, workspace<T, Copies>(table.copied_workspace(g.m)));
  T* const packed = workspace<T, Copies>(table.packed_size(g.n, g.k));
  table.pack(g, packed);
  table.prepacked(g, packed);
}

/// Rows i .. i + m - 1 and columns j .. j + n - 1 of the product.
template <class T>
GemmProblem<T> tile_of_c(const GemmProblem<T>& g, int64_t i, int64_t m, int64_t j, int64_t n) {
  GemmProblem<T> tile = g;
  tile.m = m;
  tile.n = n;
  tile.a += g.ta == Transpose::yes ? i : i * g.lda;
  tile.b += g.tb == Transpose::yes ? j * g.ldb : j;
  tile.c += i * g.ldc + j;
  if (g.row) tile.row += j;
  return tile;
}

/// The terms p .. p + k - 1 of every sum.
template <class T>
GemmProblem<T> piece_of_k(const GemmProblem<T>& g, int64_t p, int64_t k) {
  GemmProblem<T> piece = g;
  piece.k = k;
  piece.a += g.ta == Transpose::yes ? p * g.lda : p;
  piece.b += g.tb == Transpose::yes ? p : p * g.ldb;
  return piece;
}

template <class T>
void scale(const GemmProblem<T>& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    T* c = g.c + i * g.ldc;
    const T* old = g.row ? g.row : c;
    for (int64_t j = 0; j < g.n; ++j) c[j] = g.beta == T(0) ? T(0) : g.beta * old[j];
  }
}

struct Grid {
  int64_t rows, columns;  // of one tile
};

/// Halves the longer side of C until a tile is small enough or there are enough of them.
Grid grid_for(int64_t m, int64_t n, int64_t k, bool copied) {
  Grid tile{m, n};
  const auto halved = [](int64_t size, int64_t multiple) {
    return ((size + 1) / 2 + multiple - 1) / multiple * multiple;
  };
  for (int64_t tiles = 1; tiles < kMaxTiles; tiles *= 2) {
    if (tile.rows * tile.columns * k < 2 * kProductGrain) break;
    if (tile.rows >= tile.columns && tile.rows > (copied ? 2 * kCopiedTile : kTileRows))
      tile.rows = halved(tile.rows, kRowsTogether);
    else if (tile.columns > (copied ? 2 * kCopiedTile : kTileColumns))
      tile.columns = halved(tile.columns, kColumnsTogether);
    else
      break;
  }
  return tile;
}

template <class T>
void multiply_tiles(const GemmProblem<T>& g, GemmPath path) {
  const Grid tile = grid_for(g.m, g.n, g.k, path == GemmPath::copied);
  const int64_t across = ceil_div(g.n, tile.columns);
  const int64_t tiles = across * ceil_div(g.m, tile.rows);
  if (tiles == 1) return multiply(g, path);
  parallel_for(tiles, 1, [&](int64_t index, int64_t) {
    const int64_t i = index / across * tile.rows, j = index % across * tile.columns;
    multiply(tile_of_c(g, i, std::min(tile.rows, g.m - i), j, std::min(tile.columns, g.n - j)),
             path);
  });
}

/// A small C with a long k: pieces of k side by side, each into a C of its own, added in order.
template <class T>
void multiply_pieces_of_k(const GemmProblem<T>& g, GemmPath path, int64_t pieces) {
  const int64_t length = ceil_div(g.k, pieces), size = g.m * g.n;
  T* parts = workspace<T, struct Partial>(pieces * size);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    const int64_t p = piece * length;
    GemmProblem<T> problem = piece_of_k(g, p, std::min(length, g.k - p));
    problem.beta = 0;
    problem.c = parts + piece * size;
    problem.ldc = g.n;
    multiply(problem, path);
  });
  for (int64_t i = 0; i < g.m; ++i) {
    T* c = g.c + i * g.ldc;
    const T* old = g.row ? g.row : c;
    for (int64_t j = 0; j < g.n; ++j) {
      T sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += parts[piece * size + i * g.n + j];
      c[j] = g.beta == T(0) ? sum : sum + g.beta * old[j];
    }
  }
}

/// How many pieces of k, none of them empty; 1: k is not cut.
int64_t pieces_of_k(int64_t m, int64_t n, int64_t k) {
  if (m * n > kSmallC || k < 2 * kPieceOfK || m * n * k < 4 * kProductGrain) return 1;
  return ceil_div(k, ceil_div(k, std::min(k / kPieceOfK, kMaxTiles)));
}

/// The path of a product's tiles and pieces; automatic: each one's own.
template <class T>
GemmPath resolve(const GemmProblem<T>& g, GemmPath path) {
  if (!applies(path, g.ta, g.tb)) [[unlikely]]
    fail("gemm: the path {} cannot serve A{} B{}{}", name(path), g.ta == Transpose::yes ? "^T" : "",
         g.tb == Transpose::yes ? "^T" : "",
         path == GemmPath::openblas ? ": there is no OpenBLAS" : "");
  const bool chosen = path == GemmPath::automatic;
  if (chosen) path = gemm_path<T>(g.ta, g.tb, g.m, g.n, g.k);
  const bool parts_choose = chosen && (path == GemmPath::in_place || path == GemmPath::panels);
  const bool too_large =
      path == GemmPath::openblas && std::max({g.m, g.n, g.k, g.lda, g.ldb, g.ldc}) > INT_MAX;
  return parts_choose || too_large ? GemmPath::automatic : path;
}

// What is too small to be cut goes where gemm_path would send it, without asking.
static_assert(2 * kProductGrain <= std::min({kLarge, kThin, kCopied}));

}  // namespace

template <class T>
void gemm(const GemmProblem<T>& g, GemmPath path) {
  if (g.m <= 0 || g.n <= 0) return;
  if (g.k <= 0 || g.alpha == T(0)) return scale(g);
  const bool whole = g.m * g.n * g.k < 2 * kProductGrain;
  if (whole && path == GemmPath::automatic)
    return multiply(g, path_of_one_row(g.ta, g.tb, g.m, g.k));
  path = resolve(g, path);
  if (whole) return multiply(g, path);
  const int64_t pieces = pieces_of_k(g.m, g.n, g.k);
  if (pieces > 1) return multiply_pieces_of_k(g, path, pieces);
  multiply_tiles(g, path);
}

template <class T>
void gemm_uncut(const GemmProblem<T>& g, GemmPath path) {
  if (g.m <= 0 || g.n <= 0) return;
  if (g.k <= 0 || g.alpha == T(0)) return scale(g);
  multiply(g,
           path == GemmPath::automatic ? path_of_one_row(g.ta, g.tb, g.m, g.k) : resolve(g, path));
}

const char* name(GemmPath path) {
  static constexpr const char* names[] = {"automatic", "in place", "panels", "copied",
                                          "packed",    "openblas", "dots"};
  return names[static_cast<int>(path)];
}

bool applies(GemmPath path, Transpose ta, Transpose tb) {
  if (path == GemmPath::in_place) return tb == Transpose::no;
  if (path == GemmPath::copied) return ta == Transpose::yes;
  if (path == GemmPath::dots) return ta == Transpose::no && tb == Transpose::yes;
  return path != GemmPath::openblas || blas();
}

template <class T>
GemmPath gemm_path(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k) {
  if (path_of_one_row(ta, tb, m, k) == GemmPath::dots) return GemmPath::dots;
  const int64_t work = m * n * k;
  const bool thin = tb == Transpose::yes && m <= kThinRows && work >= kThin &&
                    kernels<GemmKernels<T>>().thin_to_blas;
  const bool copied = ta == Transpose::yes && std::min(m, n) >= kCopiedColumns && work >= kCopied;
  if ((work >= kLarge || thin) && blas()) return GemmPath::openblas;
  return copied ? GemmPath::copied : own_path(ta, tb, m);
}

namespace {

/// Products side by side: how many, and how far apart their matrices lie.
struct BatchLoop {
  int64_t size, a, b, c;
};

BatchLoop loop_of(const Loops<3>& batch, int i) {
  const auto& strides = batch.strides;
  return {batch.sizes[i], strides[0][i], strides[1][i], strides[2][i]};
}

template <class T>
GemmProblem<T> moved(GemmProblem<T> g, int64_t a, int64_t b, int64_t c) {
  g.a += a;
  g.b += b;
  g.c += c;
  return g;
}

/// Products of the innermost loop that are one of more rows, with one B, become that.
template <class T>
void join_rows(GemmProblem<T>& g, Loops<3>& batch) {
  if (batch.ndim == 0 || g.ta == Transpose::yes) return;
  const BatchLoop loop = loop_of(batch, batch.ndim - 1);
  if (loop.a != g.m * g.lda || loop.b != 0 || loop.c != g.m * g.ldc) return;
  g.m *= loop.size;
  batch.erase(batch.ndim - 1);
}

/// Takes the longest loop out of a batch.
BatchLoop take_longest(Loops<3>& batch) {
  if (batch.ndim == 0) return {1, 0, 0, 0};
  int longest = batch.ndim - 1;
  for (int i = longest; i >= 0; --i)
    if (batch.sizes[i] > batch.sizes[longest]) longest = i;
  const BatchLoop loop = loop_of(batch, longest);
  batch.erase(longest);
  return loop;
}

/// The products of one loop, spread over the threads.
template <class T>
void multiply_loop(const GemmProblem<T>& first, const BatchLoop& loop) {
  const int64_t work = std::max<int64_t>(1, first.m * first.n * first.k);
  const auto product = [&](int64_t i) { gemm(moved(first, i * loop.a, i * loop.b, i * loop.c)); };
  if (loop.size < kMaxTiles && work >= 2 * kProductGrain) {  // few and large: each is cut by itself
    for (int64_t i = 0; i < loop.size; ++i) product(i);
    return;
  }
  parallel_for(loop.size, per_grain(work, kProductGrain), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) product(i);
  });
}

}  // namespace

template <class T>
void gemm_batched(const GemmProblem<T>& first, const Loops<3>& batch) {
  if (batch.numel() == 0 || first.m == 0 || first.n == 0) return;
  GemmProblem<T> g = first;
  Loops<3> others = batch;
  others.collapse();
  join_rows(g, others);
  const BatchLoop longest = take_longest(others);
  Odometer<3> at(others, 0);
  for (int64_t i = others.numel(); i > 0; --i, at.next())
    multiply_loop(moved(g, at.offsets[0], at.offsets[1], at.offsets[2]), longest);
}

template <class T>
int64_t packed_size(int64_t n, int64_t k) {
  return kernels<GemmKernels<T>>().packed_size(n, k);
}

template <class T>
void pack(Transpose tb, int64_t n, int64_t k, const T* b, int64_t ldb, T* packed) {
  const GemmProblem<T> g{Transpose::no, tb, 0, n, k, T(1), nullptr, 0, b, ldb, T(0), nullptr, 0};
  kernels<GemmKernels<T>>().pack(g, packed);
}

template <class T>
void gemm_packed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* packed, T beta,
                 T* c, int64_t ldc) {
  const GemmProblem<T> g{Transpose::no, Transpose::no, m, n,    k, T(1), a,
                         lda,           nullptr,       0, beta, c, ldc};
  if (m <= 0 || n <= 0) return;
  if (k <= 0) return scale(g);
  kernels<GemmKernels<T>>().prepacked(g, packed);
}

GRADUS_INSTANTIATE(gemm_path<T>, gemm<T>, gemm_uncut<T>, gemm_batched<T>, packed_size<T>, pack<T>,
                   gemm_packed<T>)

}  // namespace gradus::kernels
