#include <gradus/base/detail/fork.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/kernels/runtime/isa.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace gradus::kernels {
namespace {

struct Row {
  const char* name;
  bool (*can_run)(const CpuInfo& cpu);
};
#define GRADUS_LEVEL(name, can_run) \
  {#name, []([[maybe_unused]] const CpuInfo& cpu) { return bool{can_run}; }},
constexpr Row kRows[] = {GRADUS_LEVELS};
#undef GRADUS_LEVEL

const Row& row(Isa isa) { return kRows[static_cast<int>(isa)]; }

Isa choose() {
  const char* wanted = std::getenv("GRADUS_ISA");
  Isa best = kLevels[0];
  std::string names;
  for (Isa isa : kLevels) {
    names += (names.empty() ? "" : ", ") + std::string(name(isa));
    if (!supports(isa)) continue;
    if (wanted && wanted == std::string_view(name(isa))) return isa;
    best = isa;
  }
  if (wanted && *wanted != '\0')
    std::fprintf(stderr,
                 "gradus: GRADUS_ISA=%s is not a level this processor can run (%s); using %s\n",
                 wanted, names.c_str(), name(best));
  return best;
}

}  // namespace

Isa active_isa() {
  static constinit gradus::detail::Lazy<Isa> isa;
  return isa.get(choose);
}

bool supports(Isa isa) { return row(isa).can_run(cpu_info()); }
const char* name(Isa isa) { return row(isa).name; }

}  // namespace gradus::kernels
