#pragma once
#include <gradus/kernels/runtime/loops.h>

#include <cstdint>

namespace gradus::kernels {

enum class Transpose : bool { no, yes };

/// One matrix product on raw memory, row-major: C = alpha op(A) op(B) + beta C, with op(A) (m,k)
/// and op(B) (k,n). lda, ldb and ldc are the distances between stored rows. With a `row` (n), a
/// bias, each row of C is alpha op(A) op(B) + beta row.
template <class T>
struct GemmProblem {
  Transpose ta, tb;
  int64_t m, n, k;
  T alpha;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T beta;
  T* c;
  int64_t ldc;
  const T* row = nullptr;
};

/// in_place: A and B are read where they lie; not for a transposed B. dots: both are read where
/// they lie, B transposed, A not, so that each element of C is a product of rows that lie side by
/// side. panels: B is copied a panel at a time. copied: A, which must be transposed, is copied,
/// too. packed: all of B is copied first, as gemm_packed() has it. openblas: OpenBLAS, the other
/// ones being ours.
enum class GemmPath { automatic, in_place, panels, copied, packed, openblas, dots };
const char* name(GemmPath path);

/// The path that `automatic` takes for an (m,k) x (k,n) product, or a tile of one; depends on the
/// shape and on whether OpenBLAS is there.
template <class T>
GemmPath gemm_path(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k);
/// Whether `path` can serve such factors (forcing one that cannot throws Error).
bool applies(GemmPath path, Transpose ta, Transpose tb);

/// C = alpha op(A) op(B) + beta C, row-major, for float and double; C is not read where beta is 0,
/// and neither are A and B where alpha is 0. C is cut into tiles, and a long k into pieces, by the
/// shape alone: the result is bit for bit the same on any number of threads. `path` is for tests.
template <class T>
void gemm(const GemmProblem<T>& g, GemmPath path = GemmPath::automatic);

/// The same, not cut, by the calling thread alone, and by a path of ours: for small products, many
/// at a time.
template <class T>
void gemm_uncut(const GemmProblem<T>& g, GemmPath path = GemmPath::automatic);

/// Products like `first` along each loop of the batch, whose strides are those of A, B and C; a
/// stride of 0 uses the same matrix each time.
template <class T>
void gemm_batched(const GemmProblem<T>& first, const Loops<3>& batch);

/// op(B) (k, n) in the order in which a product reads it: copied once for many products.
template <class T>
int64_t packed_size(int64_t n, int64_t k);
template <class T>
void pack(Transpose tb, int64_t n, int64_t k, const T* b, int64_t ldb, T* packed);

/// C = A B + beta C, A (m, k), B (k, n) packed; not cut, by the calling thread alone.
template <class T>
void gemm_packed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* packed, T beta,
                 T* c, int64_t ldc);

}  // namespace gradus::kernels
