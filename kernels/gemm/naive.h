#pragma once
#include <gradus/kernels/gemm/gemm.h>

#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// The definition of gemm.
template <class T>
void gemm(const GemmProblem<T>& g) {
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j) {
      T sum = 0;
      for (int64_t p = 0; p < g.k; ++p)
        sum += (g.ta == Transpose::yes ? g.a[p * g.lda + i] : g.a[i * g.lda + p]) *
               (g.tb == Transpose::yes ? g.b[j * g.ldb + p] : g.b[p * g.ldb + j]);
      T& c = g.c[i * g.ldc + j];
      c = g.alpha * sum + (g.beta == T(0) ? T(0) : g.beta * (g.row ? g.row[j] : c));
    }
}

}  // namespace gradus::kernels::naive
