#pragma once
#include <nlohmann/json.hpp>

namespace gradus::lab {

/// Version, compiler, processor, instruction sets, BLAS, measured Gflop/s, threads, and warnings:
/// what belongs in a bug report.
nlohmann::ordered_json info();
/// The same for people.
std::string to_text(const nlohmann::ordered_json& info);

}  // namespace gradus::lab
