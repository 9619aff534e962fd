#pragma once
#include <gradus/tensor/tensor_file.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gradus {

/// Tensors by name, of any dtype, that share their first axis: row n of each belongs to the same
/// item. Images and labels are x and y; lengths, masks, ids, weights are `more`. What copies of a
/// dataset hold are handles to the same tensors.
struct Dataset {
  std::string name = {};   ///< for messages and reports
  Tensor x = {};           ///< (N, ...), what a model is shown; or none
  Tensor y = {};           ///< (N, ...), what it should answer; or none
  int64_t classes = 0;     ///< y holds labels, i64, 0 to classes - 1; 0: y holds none
  NamedTensors more = {};  ///< (N, ...), what else there is of each item, e.g. {"lengths", ...}

  /// N, or 0 of a dataset without tensors.
  int64_t size() const;
  /// Whether there is a tensor of that name.
  bool has(std::string_view tensor) const { return find(tensor) != nullptr; }
  /// The tensor of that name: "x", "y" or one of `more`. Another name is an error that lists those
  /// that are there.
  const Tensor& operator[](std::string_view tensor) const&;
  Tensor operator[](std::string_view tensor) const&& { return (*this)[tensor]; }
  /// The rows with these indices, in their order, copied.  indices: (M) i64
  Dataset operator[](const Tensor& indices) const;
  /// x, y and `more`, as far as they are there.
  NamedTensors tensors() const;
  /// A dataset of f(each tensor), which keep their names.
  Dataset map(const std::function<Tensor(const Tensor&)>& f) const;

 private:
  const Tensor* find(std::string_view tensor) const;
};

/// A dataset in two parts.
struct Split {
  Dataset train, test;  ///< to learn from, and to be judged by
};

/// The UCI digits, which are part of the library: 1797 images of 8x8 (Alpaydin & Kaynak 1998; see
/// data/digits/SOURCE.md).   x: (N, 1, 8, 8) f32, 0 to 1   y: (N)
Dataset digits();

/// Japanese Vowels, which are part of the library: utterances of /ae/ by 9 speakers, 12 cepstrum
/// coefficients a frame, 270 to train and 370 to test with, as published (Kudo et al. 1999; see
/// data/vowels/SOURCE.md). They are in the order of the speakers.
/// x: (N, 29, 12) f32, 0 behind each one's end   lengths: (N), 7 to 29   y: (N), the speaker
Split japanese_vowels();

/// An error that names `op` and the dataset unless it has tensors, each with a name of its own,
/// which share their first axis, and labels, if there are classes, are i64.
void check_dataset(const char* op, const Dataset& data);

/// A random part, round(test_fraction N) rows, as test set, the rest for training; the same for the
/// same seed.
Split train_test_split(const Dataset& data, double test_fraction, uint64_t seed);

/// k splits, 2 <= k <= N: the rows in random order are cut into k parts, whose sizes differ by one
/// at most, and each part is the test set of one split. The same for the same seed.
std::vector<Split> kfold(const Dataset& data, int64_t k, uint64_t seed);

/// Makes the mean of all of x's training values 0 and their variance 1, and changes the test values
/// alike, in tensors of their own: copies of `data` made before keep theirs. An error changes
/// neither part. Where there are "lengths", x is (N, T, ...), and what lies behind an item's end
/// neither counts nor changes. x: f32 or f64
void standardize(Split& data);

}  // namespace gradus
