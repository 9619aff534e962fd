// libFuzzer's target: files that others wrote or damaged, see files.h.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t n) {
  const std::string finding = gradus::fuzz::read_file_of({bytes, n});
  if (finding.empty()) return 0;
  std::fprintf(stderr, "finding: %s\n", finding.c_str());
  std::abort();
}
