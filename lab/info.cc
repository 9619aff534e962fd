#include <fmt/format.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/kernels/gemm/blas.h>
#include <gradus/kernels/runtime/cpu.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>
#include <gradus/version.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "lab/command.h"
#include "lab/json_text.h"

namespace gradus::lab {

namespace {

/// Gflop/s of a 1024-cube f32 product with so many threads: the median of several.
double gflops(int count) {
  const int before = threads();
  set_threads(count);
  Generator generator(1);
  const Tensor a = randn({1024, 1024}, generator), b = randn({1024, 1024}, generator);
  matmul(a, b);
  std::vector<double> rates;
  for (int i = 0; i < 7; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    matmul(a, b);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    rates.push_back(2 * 1024.0 * 1024.0 * 1024.0 / time.count() / 1e9);
  }
  set_threads(before);
  std::nth_element(rates.begin(), rates.begin() + 3, rates.end());
  return rates[3];
}

std::vector<std::string> what_makes_it_slow() {
  std::vector<std::string> warnings;
#ifndef __OPTIMIZE__
  warnings.push_back("compiled without optimization: use -DCMAKE_BUILD_TYPE=Release");
#endif
#ifndef NDEBUG
  warnings.push_back("compiled with assertions: use -DCMAKE_BUILD_TYPE=Release");
#endif
#ifdef GRADUS_SANITIZED
  warnings.push_back("compiled with sanitizers");
#endif
  const kernels::BlasInfo& blas = kernels::blas_info();
  if (!blas.warning.empty())
    warnings.push_back(blas.warning);
  else if (blas.path.empty())
    warnings.push_back(
        "GRADUS_BLAS=none: our own kernels do all matrix products, those of few rows up to half as "
        "fast");
  else if (blas.chosen_by == "OPENBLAS_CORETYPE" && blas.core != blas.expected_core)
    warnings.push_back(fmt::format(
        "OPENBLAS_CORETYPE has OpenBLAS use its {} kernels; {} would suit this processor",
        blas.core, blas.expected_core));
  for (const kernels::Isa isa : kernels::kLevels)
    if (kernels::supports(isa) && kernels::active_isa() < isa)
      warnings.push_back(fmt::format("GRADUS_ISA={}: the processor has {}",
                                     kernels::name(kernels::active_isa()), kernels::name(isa)));
  return warnings;
}

std::string shown(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.1f}", value.get<double>());
  if (!value.is_array()) return json_text(value, -1);
  return fmt::format("{}", fmt::join(value.get<std::vector<std::string>>(), " "));
}

/// Version, compiler, processor, instruction sets, BLAS, measured Gflop/s, threads, and warnings.
nlohmann::ordered_json info() {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  const kernels::BlasInfo& blas = kernels::blas_info();
  std::vector<std::string> instruction_sets;
  for (const auto& [name, has] :
       {std::pair("avx2", cpu.avx2), {"avx512", cpu.avx512}, {"avx512_bf16", cpu.avx512_bf16}})
    if (has) instruction_sets.push_back(name);
  std::vector<std::string> warnings = what_makes_it_slow();
  const double one = gflops(1), all = gflops(threads());
  if (threads() > 1 && all < 1.3 * one)
    warnings.push_back(
        "more threads hardly help: other programs are busy, or the threads share a core");
  const kernels::SmallJobsInfo small_jobs = kernels::small_jobs_info();
  return {{"version", GRADUS_VERSION},
          {"compiler", GRADUS_COMPILER},
          {"flags", GRADUS_FLAGS},
          {"processor", cpu.brand},
          {"vendor", cpu.vendor},
          {"family", cpu.family},
          {"model", cpu.model},
          {"instruction_sets", instruction_sets},
          {"kernels", kernels::name(kernels::active_isa())},
          {"blas", blas.path},
          {"blas_config", blas.config},
          {"blas_core", blas.core},
          {"blas_expected_core", blas.expected_core},
          {"blas_core_chosen_by", blas.chosen_by},
          {"threads", threads()},
          {"small_jobs", small_jobs.shared ? "shared" : "alone"},
          {"small_jobs_chosen_by", small_jobs.chosen_by},
          {"gflops_one_thread", one},
          {"gflops_all_threads", all},
          {"warnings", warnings}};
}

/// The same for people.
std::string to_text(const nlohmann::ordered_json& info) {
  std::string text;
  for (const auto& [key, value] : info.items()) {
    if (key == "warnings") continue;
    std::string label = key;
    std::replace(label.begin(), label.end(), '_', ' ');
    text += fmt::format("{:<22} {}\n", label, shown(value));
  }
  for (const auto& warning : info["warnings"])
    text += "warning: " + warning.get<std::string>() + "\n";
  if (!text.empty()) text.pop_back();
  return text;
}

Command::Run setup(CLI::App& app) {
  const auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "As JSON");
  return [json] {
    const nlohmann::ordered_json facts = info();
    fmt::print("{}\n", *json ? json_text(facts) : to_text(facts));
    return 0;
  };
}

}  // namespace

static Command info_command("info", "What a bug report needs: build, processor, BLAS", setup);

}  // namespace gradus::lab
