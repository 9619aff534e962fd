#include <gradus/base/detail/fork.h>
#include <gradus/kernels/runtime/cpu.h>

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstring>
#endif

namespace gradus::kernels {
namespace {

#if defined(__x86_64__)
std::string vendor_string() {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return {};
  const unsigned parts[3] = {ebx, edx, ecx};
  return std::string(reinterpret_cast<const char*>(parts), sizeof parts);
}

std::string brand_string() {
  unsigned parts[12] = {};
  unsigned* p = parts;
  for (unsigned i = 0; i < 3; ++i, p += 4) {
    if (!__get_cpuid(0x80000002u + i, p, p + 1, p + 2, p + 3)) return {};
  }
  const char* text = reinterpret_cast<const char*>(parts);
  std::string brand(text, strnlen(text, sizeof parts));
  const size_t begin = brand.find_first_not_of(' '), end = brand.find_last_not_of(' ');
  return begin == std::string::npos ? std::string() : brand.substr(begin, end - begin + 1);
}

bool has_avx512_bf16() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & (1u << 5));
}

CpuInfo ask() {
  CpuInfo cpu;
  cpu.vendor = vendor_string();
  cpu.brand = brand_string();
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
    const int base_family = (eax >> 8) & 15;
    cpu.family = base_family + (base_family == 15 ? (eax >> 20) & 255 : 0);
    cpu.model = (eax >> 4) & 15;
    if (base_family == 6 || base_family == 15) cpu.model += ((eax >> 16) & 15) << 4;
    const bool f16c = ecx & (1u << 29), movbe = ecx & (1u << 22);
    // __builtin_cpu_supports looks at XGETBV too.
    __builtin_cpu_init();
    cpu.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && f16c && movbe;
    cpu.avx512 = cpu.avx2 && __builtin_cpu_supports("avx512f") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
    cpu.avx512_bf16 = cpu.avx512 && has_avx512_bf16();
  }
  return cpu;
}
#else
CpuInfo ask() { return {}; }
#endif

}  // namespace

const CpuInfo& cpu_info() {
  static constinit gradus::detail::Lazy<CpuInfo> cpu;
  return cpu.get(ask);
}

}  // namespace gradus::kernels
