#pragma once
#include <cstdint>

namespace gradus::kernels {

enum class Transpose : bool { no, yes };

/// One matrix product on raw memory, row-major: C = alpha op(A) op(B) + beta C, with op(A) (m,k)
/// and op(B) (k,n). lda, ldb and ldc are the distances between stored rows. `row` (n), if there is
/// one, stands in beta C for every row of C: a bias.
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

/// `in_place` and `copied` are ours, and read B where it lies or through a panel that stays in the
/// caches. A is read in place, but `copied` copies one that is transposed.
enum class GemmPath { automatic, in_place, copied, openblas };
const char* name(GemmPath path);

/// The path that `automatic` takes for an (m,k) x (k,n) product; depends on the shape and on
/// whether OpenBLAS is there.
template <class T>
GemmPath gemm_path(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k);

/// C = alpha op(A) op(B) + beta C, row-major, for float and double; C is not read where beta is 0,
/// and neither are A and B where alpha is 0. C is cut into tiles, and a long k into pieces, by the
/// shape alone: the result is bit for bit the same on any number of threads. `path` is for tests: a
/// path that is not there (no OpenBLAS) throws Error.
template <class T>
void gemm(const GemmProblem<T>& g, GemmPath path = GemmPath::automatic);

/// `batch` products whose matrices lie stride_a, stride_b and stride_c elements apart; a stride of
/// 0 for a or b uses the same matrix each time.
template <class T>
void gemm_batched(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                  int64_t lda, int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, T beta,
                  T* c, int64_t ldc, int64_t stride_c, int64_t batch,
                  GemmPath path = GemmPath::automatic);

/// op(B) (k, n) in the order in which a product reads it: copied once for many products.
template <class T>
int64_t packed_size(int64_t n, int64_t k);
template <class T>
void pack(Transpose tb, int64_t n, int64_t k, const T* b, int64_t ldb, T* packed);

/// C = A B + beta C, A (m, k), B (k, n) packed; by the calling thread alone.
template <class T>
void gemm_packed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* packed, T beta,
                 T* c, int64_t ldc);

namespace naive {

/// The definition of gemm.
template <class T>
void gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += (at ? a[p * lda + i] : a[i * lda + p]) * (bt ? b[j * ldb + p] : b[p * ldb + j]);
      c[i * ldc + j] = alpha * sum + (beta == T(0) ? T(0) : beta * c[i * ldc + j]);
    }
}

}  // namespace naive
}  // namespace gradus::kernels
