#include <gradus/data/dataset.h>
#include <gradus/data/gzip.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

namespace gradus {

// data/digits/digits.csv.gz, embedded by the build.
extern const unsigned char digits_csv_gz[];
extern const size_t digits_csv_gz_size;

Dataset digits() {
  constexpr int64_t kCount = 1797, kPixels = 64;
  const std::string csv = gunzip("digits", digits_csv_gz, digits_csv_gz_size);
  Dataset data{"digits", empty({kCount, 1, 8, 8}), empty({kCount}, DType::i64), 10};
  float* pixel = data.x.mutable_data<float>();
  int64_t* label = data.y.mutable_data<int64_t>();
  const char* at = csv.data();
  const char* const end = at + csv.size();
  for (int64_t i = 0; i < kCount * (kPixels + 1); ++i) {
    int value = -1;
    at = std::from_chars(at, end, value).ptr;
    check(value >= 0 && at < end, "digits: the embedded data is damaged");
    ++at;  // a comma or the line's end
    if (i % (kPixels + 1) == kPixels)
      *label++ = value;
    else
      *pixel++ = static_cast<float>(value) / 16;
  }
  return data;
}

void check_dataset(const char* op, const Dataset& data) {
  check(data.x.dtype() == DType::f32 && data.y.dtype() == DType::i64 && data.x.ndim() > 0 &&
            data.y.shape() == Shape{data.x.size(0)},
        "{}: {} has x {} {} and y {} {}; x must be f32 and y one i64 label for each image", op,
        data.name, data.x.shape(), data.x.dtype(), data.y.shape(), data.y.dtype());
}

Dataset subset(const Dataset& all, const Tensor& indices) {
  check_dataset("subset", all);
  check(indices.dtype() == DType::i64, "subset: the indices are {}, not i64",
        name(indices.dtype()));
  const Tensor x = raw::contiguous(all.x), y = raw::contiguous(all.y);
  const int64_t n = indices.numel(), pixels = all.x.numel() / std::max<int64_t>(1, all.size());
  Shape shape = all.x.shape();
  shape[0] = n;
  Dataset part{all.name, empty(shape), empty({n}, DType::i64), all.classes};
  const raw::Contiguous order(indices);
  const int64_t* index = order.data<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    check(index[i] >= 0 && index[i] < all.size(), "subset: index {} of {} images", index[i],
          all.size());
    std::memcpy(part.x.mutable_data<float>() + i * pixels, x.data<float>() + index[i] * pixels,
                static_cast<size_t>(pixels) * sizeof(float));
    part.y.mutable_data<int64_t>()[i] = y.data<int64_t>()[index[i]];
  }
  return part;
}

Split split(const Dataset& all, double test_fraction, uint64_t seed) {
  const int64_t n = all.size();
  const bool fraction = test_fraction > 0 && test_fraction < 1;
  const auto test =
      static_cast<int64_t>(fraction ? std::llround(test_fraction * static_cast<double>(n)) : 0);
  check(test > 0 && test < n, "split: {} of {} images cannot be put aside for testing",
        test_fraction, n);
  Generator generator(seed, "split");
  const Tensor order = randperm(n, generator);
  const int64_t one[] = {1};
  return {subset(all, as_strided(order, {n - test}, one, test)),
          subset(all, as_strided(order, {test}, one, 0))};
}

void standardize(Split& data) {
  check_dataset("standardize", data.train);
  check_dataset("standardize", data.test);
  const auto pixels = data.train.x.to_vector<double>();
  check(std::adjacent_find(pixels.begin(), pixels.end(), std::not_equal_to()) != pixels.end(),
        "standardize: all training pixels of {} are equal", data.train.name);
  double mean = 0, var = 0;
  for (double p : pixels) mean += p / static_cast<double>(pixels.size());
  for (double p : pixels) var += (p - mean) * (p - mean) / static_cast<double>(pixels.size());
  const auto shift = static_cast<float>(mean), scale = static_cast<float>(1 / std::sqrt(var));
  for (Tensor* x : {&data.train.x, &data.test.x}) {
    Tensor changed = raw::clone(*x);
    float* p = changed.mutable_data<float>();
    for (int64_t i = 0; i < changed.numel(); ++i) p[i] = (p[i] - shift) * scale;
    *x = std::move(changed);
  }
}

}  // namespace gradus
