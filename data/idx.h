#pragma once
#include <gradus/data/dataset.h>

namespace gradus {

/// One IDX file (LeCun's format for MNIST), gzipped or not: integers as i64 values, f32 and f64 as
/// they are.
Tensor read_idx(const std::string& path);

/// A folder with MNIST's four files, train-images-idx3-ubyte, train-labels-idx1-ubyte,
/// t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with or without .gz. Debian's package
/// dataset-fashion-mnist installs such a folder. Errors name the file and what is wrong with it.
Split load_idx_folder(const std::string& folder);

}  // namespace gradus
