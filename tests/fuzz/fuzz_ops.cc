// libFuzzer's target: random programs of ops, see program.h.
#include <gradus/tensor/runtime.h>

#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/program.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  gradus::set_threads(1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t n) {
  const gradus::fuzz::Outcome outcome = gradus::fuzz::run_program({bytes, n});
  if (outcome.finding.empty()) return 0;
  std::fprintf(stderr, "finding: %s\n", outcome.finding.c_str());
  std::abort();
}
