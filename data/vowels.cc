#include <gradus/data/dataset.h>
#include <gradus/data/gzip.h>

#include <algorithm>

namespace gradus {

// data/vowels/vowels.bin.gz, embedded by the build; data/vowels/SOURCE.md tells its format.
extern const unsigned char vowels_bin_gz[];
extern const size_t vowels_bin_gz_size;

namespace {

constexpr int64_t kTrain = 270, kTest = 370, kSteps = 29, kFeatures = 12;

/// Reads the two halves of each step from where the last utterance ended.
struct Steps {
  const unsigned char *low, *high;
  uint16_t next() { return static_cast<uint16_t>(*low++ | *high++ << 8); }
};

Dataset read_part(int64_t count, const unsigned char* lengths, const unsigned char* speakers,
                  Steps& steps) {
  Dataset part{"vowels",
               zeros({count, kSteps, kFeatures}),
               empty({count}, DType::i64),
               9,
               {{"lengths", empty({count}, DType::i64)}}};
  float* x = part.x.mutable_data<float>();
  std::copy_n(lengths, count, part.more[0].second.mutable_data<int64_t>());
  std::copy_n(speakers, count, part.y.mutable_data<int64_t>());
  for (int64_t n = 0; n < count; ++n, x += kSteps * kFeatures) {
    for (int64_t feature = 0; feature < kFeatures; ++feature) {
      uint16_t value = 0;
      for (int64_t t = 0; t < lengths[n]; ++t) {
        value = static_cast<uint16_t>(value + steps.next());
        x[t * kFeatures + feature] = static_cast<float>(static_cast<int16_t>(value) / 1e4);
      }
    }
  }
  return part;
}

}  // namespace

Split japanese_vowels() {
  const std::string bytes = MaybeGzipped("vowels", vowels_bin_gz, vowels_bin_gz_size).read();
  const auto* const lengths = reinterpret_cast<const unsigned char*>(bytes.data());
  constexpr int64_t kCount = kTrain + kTest;
  const auto size = static_cast<int64_t>(bytes.size());
  int64_t frames = 0;
  for (int64_t n = 0; n < std::min(kCount, size); ++n)
    frames += std::min<int64_t>(lengths[n], kSteps);
  check(size == 2 * kCount + 2 * kFeatures * frames, "vowels: the embedded data is damaged");
  const unsigned char *const speakers = lengths + kCount, *const first = speakers + kCount;
  Steps steps{first, first + kFeatures * frames};
  Dataset train = read_part(kTrain, lengths, speakers, steps);
  return {std::move(train), read_part(kTest, lengths + kTrain, speakers + kTrain, steps)};
}

}  // namespace gradus
