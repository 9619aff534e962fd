#pragma once
#include <gradus/tensor/tensor_file.h>

namespace gradus {

/// Writes one tensor in NumPy's format (version 1.0, little-endian, C order), byte by byte as
/// numpy.save does. The file appears whole or not at all.
void save_npy(const std::string& path, const Tensor& x);
/// The array of such a file, of format version 1 to 3, in C or Fortran order, little or big-endian:
/// f2 and f4 become f32, f8 f64, integers i64, b1 bool; others are an error. So is a file whose
/// size is not what its header says.
Tensor load_npy(const std::string& path);

/// Writes named tensors as numpy.savez does, up to 4 GiB. The file appears whole or not at all.
void save_npz(const std::string& path, const NamedTensors& tensors);
/// The arrays of such a file, by name, stored or deflated (numpy.savez_compressed); see load_npy().
NamedTensors load_npz(const std::string& path);

}  // namespace gradus
