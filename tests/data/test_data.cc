#define BOOST_TEST_MODULE data
#include <gradus/data/augment.h>
#include <gradus/data/idx.h>
#include <gradus/data/loader.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

struct TemporaryFolder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("gradus_test_data_" + std::to_string(::getpid()));
  TemporaryFolder() { std::filesystem::create_directories(path); }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
  }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

std::string idx(std::initializer_list<int> sizes, const std::string& bytes, char type = 8) {
  std::string text{'\0', '\0', type, static_cast<char>(sizes.size())};
  for (int size : sizes)
    text += {'\0', '\0', static_cast<char>(size >> 8), static_cast<char>(size)};
  return text + bytes;
}

/// That f throws an Error whose message contains `part`.
template <class F>
void throws_with(F f, const std::string& part) {
  try {
    f();
    BOOST_TEST(false, "no error, expected: " << part);
  } catch (const Error& error) {
    BOOST_TEST(std::string(error.what()).find(part) != std::string::npos, error.what());
  }
}

}  // namespace

// A copy of a struct shares its tensors until somebody gives it others; nobody writes into them.
BOOST_AUTO_TEST_CASE(nothing_changes_what_copies_share) {
  const auto bytes = [](const Dataset& data) {
    return std::pair(data.x.to_vector<float>(), data.y.to_vector<int64_t>());
  };
  const Split original = train_test_split(digits(), 0.2, 1);
  const auto train = bytes(original.train), test = bytes(original.test);
  Split copy = original;
  standardize(copy);
  BOOST_TEST((bytes(copy.train) != train));
  Split both{original.train, original.train};  // each pixel is changed once
  standardize(both);
  BOOST_TEST((bytes(both.train) == bytes(copy.train)));
  BOOST_TEST((bytes(both.test) == bytes(copy.train)));
  Dataset part = original.train[arange(original.train.size())];
  raw::fill(part.x, 7);
  raw::fill(part.y, 7);
  Split parts = train_test_split(original.train, 0.5, 1);
  for (Dataset* one : {&parts.train, &parts.test}) {
    raw::fill(one->x, 7);
    raw::fill(one->y, 7);
  }
  Tensor moved = random_shift(original.train.x, 0, 1, 0);
  raw::fill(moved, 7);
  const DataLoader loader(original.train, {.batch_size = 1437, .shuffle = false});
  for (Batch batch : loader.epoch(0)) {
    raw::fill(batch.x, 7);
    raw::fill(batch.y, 7);
  }
  BOOST_TEST((bytes(original.train) == train));
  BOOST_TEST((bytes(original.test) == test));
}

// Counted in the file itself with awk.
BOOST_AUTO_TEST_CASE(digits_are_the_uci_digits) {
  const Dataset data = digits();
  BOOST_TEST(data.size() == 1797);
  std::vector<int> counts(10);
  for (int64_t label : data.y.to_vector<int64_t>()) ++counts[static_cast<size_t>(label)];
  BOOST_TEST(counts == (std::vector<int>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}),
             boost::test_tools::per_element());
  double sum = 0;
  for (double pixel : data.x.to_vector<double>()) sum += pixel * 16;
  BOOST_TEST(sum == 561718);
  BOOST_TEST(data.x.at({0, 0, 0, 2}) * 16 == 5);
  BOOST_TEST(data.x.at({1, 0, 0, 3}) * 16 == 12);
}

BOOST_AUTO_TEST_CASE(a_split_is_a_partition_and_repeats) {
  Dataset data = digits();
  for (int64_t i = 0; i < data.size(); ++i)
    data.x.mutable_data<float>()[i * 64] = static_cast<float>(i);
  const Split a = train_test_split(data, 0.2, 5), b = train_test_split(data, 0.2, 5),
              c = train_test_split(data, 0.2, 6);
  BOOST_TEST(a.test.size() == 359);
  std::set<double> seen;
  for (const Dataset* part : {&a.train, &a.test})
    for (int64_t i = 0; i < part->size(); ++i) seen.insert(part->x.at({i, 0, 0, 0}));
  BOOST_TEST(seen.size() == 1797);
  BOOST_TEST(a.test.x.to_vector<float>() == b.test.x.to_vector<float>());
  BOOST_TEST(a.test.x.to_vector<float>() != c.test.x.to_vector<float>());
}

BOOST_AUTO_TEST_CASE(an_epoch_shows_each_image_once) {
  const Dataset part = digits()[arange(10)];
  for (LastBatch last : {LastBatch::keep, LastBatch::drop}) {
    const DataLoader loader(part, {.batch_size = 4, .seed = 3, .last = last});
    std::vector<int64_t> sizes;
    std::multiset<int64_t> labels;
    for (const Batch& batch : loader.epoch(0)) {
      sizes.push_back(batch.x.size(0));
      for (int64_t label : batch.y.to_vector<int64_t>()) labels.insert(label);
    }
    BOOST_TEST(sizes == (last == LastBatch::keep ? std::vector<int64_t>{4, 4, 2}
                                                 : std::vector<int64_t>{4, 4}),
               boost::test_tools::per_element());
    // The first ten digits of the file are 0 to 9.
    if (last == LastBatch::keep)
      BOOST_TEST(std::set<int64_t>(labels.begin(), labels.end()).size() == 10u);
  }
  const DataLoader loader(part, {.batch_size = 10, .seed = 3});
  const auto labels = [&](uint64_t epoch) {
    return loader.epoch(epoch).batch(0).y.to_vector<int64_t>();
  };
  BOOST_TEST(labels(1) == labels(1));
  BOOST_TEST(labels(1) != labels(2));
}

BOOST_AUTO_TEST_CASE(shifted_images_are_moved_whole) {
  const int64_t n = 200, h = 4, w = 5;
  const Tensor images = raw::cast(raw::reshape(arange(n * 2 * h * w), {n, 2, h, w}), DType::f32);
  Generator generator(3);
  const Tensor moved = random_shift(images, 2, 0.5, -1, generator);
  std::map<std::pair<int64_t, int64_t>, int> times;
  for (int64_t k = 0; k < n; ++k) {
    int fits = 0;
    for (int64_t down = -2; down <= 2; ++down)
      for (int64_t right = -2; right <= 2; ++right) {
        bool same = true;
        for (int64_t c = 0; c < 2; ++c)
          for (int64_t i = 0; i < h; ++i)
            for (int64_t j = 0; j < w; ++j) {
              const int64_t a = i - down, b = j - right;
              const bool inside = a >= 0 && a < h && b >= 0 && b < w;
              same = same && moved.at({k, c, i, j}) == (inside ? images.at({k, c, a, b}) : -1);
            }
        if (same) ++fits, ++times[{down, right}];
      }
    BOOST_TEST(fits == 1);
  }
  // Expected: half of them and 1 of 25 of the others stay; each other place gets 1 of 50.
  const int stayed = times[{0, 0}];
  BOOST_TEST((stayed > 75 && stayed < 133));
  BOOST_TEST(times.size() > 20u);
  BOOST_TEST(random_shift(images, 1, 0, 0, generator).to_vector<float>() ==
             images.to_vector<float>());
  BOOST_CHECK_EXCEPTION(random_shift(images, 1, 1.5, 0), Error, says("random_shift: "));
}

BOOST_AUTO_TEST_CASE(idx_files_are_read_as_written) {
  const TemporaryFolder folder;
  folder.write("train-images-idx3-ubyte",
               idx({2, 1, 3}, {'\0', '\x33', '\xff', '\x01', '\x02', '\x03'}));
  folder.write("train-labels-idx1-ubyte", idx({2}, {'\x04', '\x01'}));
  folder.write("t10k-images.idx3-ubyte", idx({1, 1, 3}, "abc"));
  folder.write("t10k-labels.idx1-ubyte", idx({1}, {'\x02'}));
  const Split data = load_idx_folder(folder.path.string());
  BOOST_TEST(data.train.classes == 5);
  BOOST_TEST((data.train.x.shape() == Shape{2, 1, 1, 3}));
  BOOST_TEST(data.train.x.at({0, 0, 0, 1}) == 0.2, boost::test_tools::tolerance(1e-7));
  BOOST_TEST(data.train.y.at({0}) == 4);
  BOOST_TEST(read_idx(folder / "t10k-images.idx3-ubyte").at({0, 0, 2}) == 'c');
}

// The bytes are those of the numbers as big-endian ones, by struct.pack(">...") of Python.
BOOST_AUTO_TEST_CASE(idx_files_of_every_type) {
  const TemporaryFolder folder;
  const auto values = [&](char type, const std::string& bytes, DType dtype) {
    folder.write("x", idx({2}, bytes, type));
    const Tensor x = read_idx(folder / "x");
    BOOST_TEST((x.dtype() == dtype));
    return x.to_vector<double>();
  };
  using Values = std::vector<double>;
  BOOST_TEST((values(0x08, {'\x00', '\xff'}, DType::i64) == Values{0, 255}));
  BOOST_TEST((values(0x09, {'\x80', '\x7f'}, DType::i64) == Values{-128, 127}));
  BOOST_TEST((values(0x0b, {'\x80', '\x00', '\x01', '\x02'}, DType::i64) == Values{-32768, 258}));
  BOOST_TEST((values(0x0c, {'\xff', '\xff', '\xff', '\xfe', '\x01', '\x02', '\x03', '\x04'},
                     DType::i64) == Values{-2, 16909060}));
  BOOST_TEST((values(0x0d, {'\x3f', '\xc0', '\x00', '\x00', '\xc0', '\x49', '\x0f', '\xdb'},
                     DType::f32) == Values{1.5, -3.1415927410125732}));
  BOOST_TEST((values(0x0e,
                     {'\x3f', '\xf8', '\x00', '\x00', '\x00', '\x00', '\x00', '\x00', '\xc0',
                      '\x09', '\x21', '\xfb', '\x54', '\x44', '\x2d', '\x18'},
                     DType::f64) == Values{1.5, -3.141592653589793}));
  for (const char* name : {"train-images-idx3-ubyte", "t10k-images-idx3-ubyte"})
    folder.write(name, idx({1, 1, 1}, {'\x00', '\x01'}, 0x0b));
  for (const char* name : {"train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"})
    folder.write(name, idx({1}, {'\x00'}));
  throws_with([&] { load_idx_folder(folder.path.string()); },
              "holds i2 elements, must be of bytes");
}

BOOST_AUTO_TEST_CASE(bad_files_are_named) {
  const TemporaryFolder folder;
  throws_with([] { load_idx_folder("/no/such/folder"); }, "is not a folder");
  throws_with([&] { load_idx_folder(folder.path.string()); }, "has no train-images");
  folder.write("short", idx({2, 3}, "abcde"));
  throws_with([&] { read_idx(folder / "short"); }, "5 bytes where its header (2, 3) promises 6");
  folder.write("header", std::string("\0\0\x08\x03\0\0", 6));
  throws_with([&] { read_idx(folder / "header"); }, "truncated within its header");
  folder.write("text", "hello, this is text");
  throws_with([&] { read_idx(folder / "text"); }, "not an IDX file");
  folder.write("type", idx({1}, "abcd", 0x0a));
  throws_with([&] { read_idx(folder / "type"); }, "holds IDX type 0x0a, which there is not");
  folder.write("floats", idx({1}, "abc", 0x0d));
  throws_with([&] { read_idx(folder / "floats"); }, "3 bytes where its header (1,) promises 4");
  folder.write("gzip", std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x02", 12));
  throws_with([&] { read_idx(folder / "gzip"); }, "gzip data is truncated or damaged");
  folder.write("train-images-idx3-ubyte", idx({2, 1, 1}, "ab"));
  folder.write("train-labels-idx1-ubyte", idx({3}, "abc"));
  throws_with([&] { load_idx_folder(folder.path.string()); }, "labels for the 2 images");
}

BOOST_AUTO_TEST_CASE(bad_settings_are_named) {
  const Dataset data = digits()[arange(5)];
  throws_with([&] { DataLoader(data, {.batch_size = 0}); }, "a batch size of 0");
  throws_with([&] { DataLoader(data, {.batch_size = 6, .last = LastBatch::drop}); },
              "do not fill one batch");
  throws_with([&] { DataLoader{data[arange(0)]}; }, "is empty");
  throws_with([&] { train_test_split(data, 0.01, 1); }, "cannot be put aside");
}
