#define BOOST_TEST_MODULE isa
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

using namespace gradus::kernels;

namespace {

/// Whether /proc/cpuinfo, the kernel's reading of CPUID and not ours, has `word` in its flags.
[[maybe_unused]] bool kernel_says(const std::string& word) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("flags")) return (line + ' ').find(' ' + word + ' ') != std::string::npos;
  return false;
}

/// What this test program prints as `what`, started anew with nothing but `environment`.
std::string report(const std::string& what, const std::string& environment = "") {
  const std::string self = boost::unit_test::framework::master_test_suite().argv[0];
  const std::string command =
      "env -i GRADUS_TEST_REPORT=" + what + " " + environment + " '" + self + "' 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  pclose(pipe);
  return text;
}

/// Whether the two halves of a job of two threads meet, within a second.
bool two_threads_meet() {
  set_thread_count(2);
  std::atomic<int> arrived{0}, met{0};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  parallel_for(2, 1, [&](int64_t chunk, int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 2 && std::chrono::steady_clock::now() < end) usleep(100);
    if (chunk == 0) met = arrived.load() == 2;
  });
  return met.load();
}

/// Runs before Boost.Test: the program that report() starts.
const bool reported = [] {
  const char* what = std::getenv("GRADUS_TEST_REPORT");
  if (what == nullptr) return false;
  if (std::string(what) == "isa") {
    std::printf("%s", name(active_isa()));
  } else if (std::string(what) == "small_jobs") {
    const bool met = two_threads_meet();
    const SmallJobsInfo info = small_jobs_info();
    std::printf("%s|%s|%s", info.shared ? "shared" : "alone", info.chosen_by,
                met ? "two threads" : "one thread");
  } else {
    const BlasInfo& info = blas_info();
    const bool left_behind = std::getenv("OPENBLAS_NUM_THREADS") != nullptr;
    std::printf("%s|%s|%s%s", info.core.c_str(), info.chosen_by.c_str(), blas() ? "found" : "none",
                left_behind ? "|changed the environment" : "");
  }
  std::fflush(stdout);
  _exit(0);
}();

}  // namespace

BOOST_AUTO_TEST_CASE(cpuid_agrees_with_the_kernel) {
#if defined(__x86_64__)
  const CpuInfo& cpu = cpu_info();
  BOOST_TEST(!cpu.vendor.empty());
  BOOST_TEST(cpu.avx2 == (kernel_says("avx2") && kernel_says("fma") && kernel_says("bmi2")));
  BOOST_TEST(cpu.avx512 ==
             (kernel_says("avx512f") && kernel_says("avx512dq") && kernel_says("avx512bw") &&
              kernel_says("avx512vl") && kernel_says("avx512cd")));
  BOOST_TEST(cpu.avx512_bf16 == kernel_says("avx512_bf16"));
#endif
}

BOOST_AUTO_TEST_CASE(the_best_level_unless_told_otherwise) {
  std::string best;
  for (Isa isa : kLevels)
    if (supports(isa)) best = name(isa);
  BOOST_TEST(report("isa") == best);
  BOOST_TEST(report("isa", "GRADUS_ISA=baseline") == "baseline");
  for (Isa isa : kLevels)
    if (supports(isa))
      BOOST_TEST(report("isa", std::string("GRADUS_ISA=") + name(isa)) == name(isa));
  const std::string unknown = report("isa", "GRADUS_ISA=mmx");
  BOOST_TEST(unknown.find("GRADUS_ISA=mmx") != std::string::npos);
  BOOST_TEST(unknown.substr(unknown.size() - best.size()) == best);
}

BOOST_AUTO_TEST_CASE(openblas_uses_the_kernels_of_this_processor) {
  if (!blas()) return;
#if defined(__x86_64__)
  // From /proc/cpuinfo, so that a wrong CPUID of ours would show.
  const std::string expected = kernel_says("avx512bw") && kernel_says("avx512vl") ? "SkylakeX"
                               : kernel_says("avx2")                              ? "Haswell"
                                                     : blas_info().core;
  const std::string by = kernel_says("avx2") ? "CPUID" : "OpenBLAS";
  BOOST_TEST(report("blas") == expected + "|" + by + "|found");
  if (kernel_says("avx2"))
    BOOST_TEST(report("blas", "OPENBLAS_CORETYPE=Haswell") == "Haswell|OPENBLAS_CORETYPE|found");
#endif
}

BOOST_AUTO_TEST_CASE(without_openblas) {
  BOOST_TEST(report("blas", "GRADUS_BLAS=none") == "||none");
  const std::string missing = report("blas", "GRADUS_BLAS=/nowhere/libopenblas.so.0");
  BOOST_TEST(missing.find("/nowhere/libopenblas.so.0") != std::string::npos);
  BOOST_TEST(missing.find("||none") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(small_jobs_are_shared_or_not) {
  BOOST_TEST(report("small_jobs", "GRADUS_SMALL_JOBS=shared") ==
             "shared|GRADUS_SMALL_JOBS|two threads");
  BOOST_TEST(report("small_jobs", "GRADUS_SMALL_JOBS=alone") ==
             "alone|GRADUS_SMALL_JOBS|one thread");
  // Near, far, or asleep when it would have been asked, as it happens.
  const auto asked = [](const std::string& found) {
    return found == "shared|the helper's answer|two threads" ||
           found == "alone|the helper's answer|one thread" || found == "shared|default|two threads";
  };
  BOOST_TEST(asked(report("small_jobs")));
  BOOST_TEST(asked(report("small_jobs", "GRADUS_SMALL_JOBS=ask")));
  const std::string unknown = report("small_jobs", "GRADUS_SMALL_JOBS=never");
  BOOST_TEST(unknown.find("GRADUS_SMALL_JOBS=never is not a rule") != std::string::npos);
  BOOST_TEST(asked(unknown.substr(unknown.find('\n') + 1)));
}
