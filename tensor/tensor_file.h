#pragma once
#include <gradus/tensor/tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace gradus {

/// Tensors by name, in an order: parameters, a checkpoint, what a file holds.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Writes the tensors in the format that the path's ending names: .safetensors, .npz, or, one
/// tensor without its name, .npy; safetensors where it names none. The file appears whole or not at
/// all.
void save_tensors(const std::string& path, const NamedTensors& tensors);
/// The tensors of a file that save_tensors wrote, or another program in such a format.
NamedTensors load_tensors(const std::string& path);

}  // namespace gradus
