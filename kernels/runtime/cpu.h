#pragma once
#include <string>

namespace gradus::kernels {

/// What CPUID (and XGETBV: the system must save the registers) says of this processor. Empty and
/// false on other architectures.
struct CpuInfo {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD"
  std::string brand;   // "Intel(R) Xeon(R) Processor"
  int family = 0, model = 0;
  bool avx2 = false;         // with FMA, BMI and F16C: all of x86-64-v3
  bool avx512 = false;       // F, DQ, BW, VL and CD: all of x86-64-v4
  bool avx512_bf16 = false;  // only where avx512
};

/// Asked once.
const CpuInfo& cpu_info();

}  // namespace gradus::kernels
