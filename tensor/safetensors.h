#pragma once
#include <gradus/tensor/tensor_file.h>

namespace gradus {

/// Writes named tensors (f32, f64, i64, bool) in the safetensors format, which Python reads. The
/// file appears whole or not at all.
void save_safetensors(const std::string& path, const NamedTensors& tensors);

/// The tensors of such a file, by name: F32, F64, I64 and BOOL as they are, F16 and BF16 as f32,
/// smaller and unsigned integers as i64; other dtypes are an error. A file that is truncated, or
/// whose header does not fit its size, is an error that says what is wrong with it.
NamedTensors load_safetensors(const std::string& path);

}  // namespace gradus
