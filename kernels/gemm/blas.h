#pragma once
#include <cstdint>
#include <string>

namespace gradus::kernels {

/// The two products of OpenBLAS, in the CBLAS convention of its 32-bit integers; null where it is
/// not.
struct Blas {
  using Sgemm = void (*)(int order, int ta, int tb, int m, int n, int k, float alpha,
                         const float* a, int lda, const float* b, int ldb, float beta, float* c,
                         int ldc);
  using Dgemm = void (*)(int order, int ta, int tb, int m, int n, int k, double alpha,
                         const double* a, int lda, const double* b, int ldb, double beta, double* c,
                         int ldc);
  Sgemm sgemm = nullptr;
  Dgemm dgemm = nullptr;
  explicit operator bool() const { return sgemm != nullptr; }
};

/// Loads OpenBLAS at the first call: with one thread, and told by CPUID which kernels to use, since
/// old versions take a new processor for a Prescott. Variables that the user set are respected:
/// OPENBLAS_CORETYPE, and GRADUS_BLAS=path|none. Those set here are unset again once it is loaded,
/// so that a child process finds the environment its user made. An OpenBLAS that the program had
/// loaded before is used as it is, on one thread. Anything amiss is said once on stderr.
const Blas& blas();

/// Around a call of one of blas()'s functions: fork() waits for its end, since OpenBLAS takes a
/// lock of its own, which a child would find locked for good.
class BlasCall {
 public:
  BlasCall();
  ~BlasCall();
  BlasCall(const BlasCall&) = delete;
  BlasCall& operator=(const BlasCall&) = delete;
};

/// What blas() found, for `gradus info`.
struct BlasInfo {
  std::string path;           // empty: none, our own kernels serve
  std::string config;         // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  std::string core;           // the kernels it uses
  std::string expected_core;  // the kernels CPUID asks for; empty: left to OpenBLAS
  std::string chosen_by;      // "CPUID", "OPENBLAS_CORETYPE", "OpenBLAS"
  std::string warning;        // empty: all is well
};
const BlasInfo& blas_info();

}  // namespace gradus::kernels
