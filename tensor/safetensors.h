#pragma once
#include <gradus/tensor/tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace gradus {

/// Writes named tensors (f32, f64, i64, bool) in the safetensors format, which Python reads. The
/// file appears whole or not at all.
void save_safetensors(const std::string& path,
                      const std::vector<std::pair<std::string, Tensor>>& tensors);

/// The tensors of such a file, by name. A file that is truncated, or whose header does not fit its
/// size, is an error that says what is wrong with it.
std::vector<std::pair<std::string, Tensor>> load_safetensors(const std::string& path);

}  // namespace gradus
