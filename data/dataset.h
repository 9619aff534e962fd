#pragma once
#include <gradus/tensor/tensor.h>

#include <string>

namespace gradus {

/// Labelled images.
struct Dataset {
  std::string name;     ///< for messages and reports
  Tensor x;             ///< (N, C, H, W) f32, 0 to 1
  Tensor y;             ///< (N) i64, 0 to classes - 1
  int64_t classes = 0;  ///< how many there are
  /// How many images.
  int64_t size() const { return y.size(0); }
};

/// A dataset in two parts.
struct Split {
  Dataset train, test;  ///< to learn from, and to be judged by
};

/// The UCI digits, which are part of the library: 1797 images of 8x8 (Alpaydin & Kaynak 1998; see
/// data/digits/SOURCE.md).
Dataset digits();

/// A random part as test set, the rest for training; the same for the same seed.
Split split(const Dataset& all, double test_fraction, uint64_t seed);

/// An error that names `op` and the dataset unless x and y have the dtypes above and belong
/// together.
void check_dataset(const char* op, const Dataset& data);

/// The images with these indices (i64), in their order.
Dataset subset(const Dataset& all, const Tensor& indices);

/// Makes the training pixels' mean 0 and variance 1, and changes the test pixels alike, in tensors
/// of their own: copies of `data` made before keep theirs.
void standardize(Split& data);

}  // namespace gradus
