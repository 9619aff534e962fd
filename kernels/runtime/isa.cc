#include <gradus/kernels/runtime/cpu.h>
#include <gradus/kernels/runtime/isa.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace gradus::kernels {
namespace {

constexpr Isa kLevels[] = {Isa::avx512, Isa::avx2, Isa::baseline};

Isa choose() {
  Isa best = Isa::baseline;
  for (Isa isa : kLevels) {
    if (!supports(isa)) continue;
    best = isa;
    break;
  }
  const char* wanted = std::getenv("GRADUS_ISA");
  if (wanted == nullptr || *wanted == '\0') return best;
  for (Isa isa : kLevels) {
    if (std::string_view(wanted) == name(isa) && supports(isa)) return isa;
  }
  std::fprintf(
      stderr,
      "gradus: GRADUS_ISA=%s is not a level this processor can run (baseline, avx2, avx512); "
      "using %s\n",
      wanted, name(best));
  return best;
}

}  // namespace

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

bool supports(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return cpu_info().avx512;
    case Isa::avx2:
      return cpu_info().avx2;
    case Isa::baseline:
      break;
  }
  return true;
}

const char* name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

}  // namespace gradus::kernels
