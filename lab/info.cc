#include "lab/info.h"

#include <fmt/format.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/tensor/kernels/blas.h>
#include <gradus/tensor/kernels/cpu.h>
#include <gradus/tensor/kernels/isa.h>
#include <gradus/tensor/kernels/threads.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <chrono>

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

}  // namespace

nlohmann::ordered_json info() {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  const kernels::BlasInfo& blas = kernels::blas_info();
  nlohmann::ordered_json warnings = nlohmann::ordered_json::array();
  if (!blas.warning.empty()) warnings.push_back(blas.warning);
  if (blas.path.empty()) warnings.push_back("OpenBLAS was not found: large products are slower");
#ifndef NDEBUG
  warnings.push_back("this is a debug build");
#endif
  std::vector<std::string> instruction_sets;
  for (const auto& [name, has] :
       {std::pair("avx2", cpu.avx2), {"avx512", cpu.avx512}, {"avx512_bf16", cpu.avx512_bf16}})
    if (has) instruction_sets.push_back(name);
  const double one = gflops(1), all = gflops(threads());
  if (threads() > 1 && all < 1.3 * one)
    warnings.push_back("more threads hardly help: is the machine busy, or are they one core's?");
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
          {"gflops_one_thread", one},
          {"gflops_all_threads", all},
          {"warnings", warnings}};
}

std::string to_text(const nlohmann::ordered_json& info) {
  std::string text;
  for (const auto& [key, value] : info.items()) {
    if (key == "warnings") continue;
    std::string label = key;
    std::replace(label.begin(), label.end(), '_', ' ');
    const std::string shown = value.is_string()         ? value.get<std::string>()
                              : value.is_number_float() ? fmt::format("{:.1f}", value.get<double>())
                                                        : value.dump();
    text += fmt::format("{:<22} {}\n", label, shown);
  }
  for (const auto& warning : info["warnings"])
    text += "warning: " + warning.get<std::string>() + "\n";
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace gradus::lab
