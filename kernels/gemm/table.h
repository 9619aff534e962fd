#pragma once
#include <gradus/kernels/gemm/gemm.h>

namespace gradus::kernels {

/// Our own matrix products for one instruction-set level, on the calling thread.
template <class T>
struct GemmKernels {
  /// Both are read where they lie; B is not transposed.
  void (*in_place)(const GemmProblem<T>& problem);
  /// Both are read where they lie; B is transposed, A is not.
  void (*dots)(const GemmProblem<T>& problem);
  /// B goes through a panel on the stack.
  void (*panels)(const GemmProblem<T>& problem);
  /// Copies A, which is transposed, into `workspace`, which holds copied_workspace(m) elements,
  /// 64-byte aligned; B goes through a panel there.
  void (*copied)(const GemmProblem<T>& problem, T* workspace);
  int64_t (*copied_workspace)(int64_t m);
  /// All of op(B), panel after panel, and a product with it; sizes are packed_size(n, k).
  void (*pack)(const GemmProblem<T>& problem, T* to);
  void (*prepacked)(const GemmProblem<T>& problem, const T* b);
  int64_t (*packed_size)(int64_t n, int64_t k);
  /// Whether OpenBLAS is faster for few rows and a transposed B.
  bool thin_to_blas;
};

}  // namespace gradus::kernels
