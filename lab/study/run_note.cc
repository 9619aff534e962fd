#include "lab/study/run_note.h"

#include <fmt/chrono.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/version.h>

#include <thread>

namespace gradus::lab {

std::string RunNote::text(const std::string& what, int threads) const {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin_;
  const double processor = static_cast<double>(std::clock() - processor_) / CLOCKS_PER_SEC;
  const std::string& brand = kernels::cpu_info().brand;
  return fmt::format(
      "{:%Y-%m-%d}: {}; {:.0f} s on {} threads of {} cores ({}), {:.0f} s of processor time; "
      "gradus "
      "{}",
      fmt::gmtime(std::time(nullptr)), what, took.count(), threads,
      std::thread::hardware_concurrency(), brand.empty() ? "processor without a name" : brand,
      processor, GRADUS_VERSION);
}

}  // namespace gradus::lab
