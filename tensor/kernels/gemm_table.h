#pragma once
#include <gradus/tensor/kernels/gemm.h>

namespace gradus::kernels {

/// Our own matrix products for one instruction-set level, on the calling thread.
template <class T>
struct GemmKernels {
  /// Reads A and B in place (a transposed B goes through a panel on the stack).
  void (*small)(const GemmProblem<T>& problem);
  /// Copies A and B into `workspace`, which holds packed_workspace(m) elements, 64-byte aligned.
  void (*packed)(const GemmProblem<T>& problem, T* workspace);
  int64_t (*packed_workspace)(int64_t m);
};

}  // namespace gradus::kernels
