#define BOOST_TEST_MODULE npy
#include <gradus/base/file.h>
#include <gradus/tensor/npy.h>
#include <gradus/tensor/safetensors.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "tests/checks.h"

// tests/tensor/numpy_files.py says how the files in tests/tensor/numpy were made.
using namespace gradus;
using test::says;

namespace {

const std::string folder = GRADUS_SOURCE_DIR "/tests/tensor/numpy/";

/// A file of this test, with an ending.
struct File {
  std::string path;
  explicit File(const std::string& ending, const std::string& bytes = "")
      : path(fmt::format("test_npy_{}{}", ::getpid(), ending)) {
    write(bytes);
  }
  ~File() { std::filesystem::remove(path); }
  void write(const std::string& bytes) const {
    write_file(path, [&](std::ostream& file) { file << bytes; });
  }
};

std::vector<std::filesystem::path> files(const std::string& begin) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(begin)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::equal(a.bytes(), a.bytes() + static_cast<size_t>(a.numel()) * size_of(a.dtype()),
                    b.bytes());
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  BOOST_TEST_REQUIRE(at != text.npos);
  return text.replace(at, what.size(), by);
}

/// The little-endian number of `size` bytes at text[at] changed.
std::string with_number(std::string text, size_t at, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) text.at(at + i) = static_cast<char>(value >> (8 * i));
  return text;
}

template <class F>
void refused(F load, const std::string& path, const std::string& why) {
  BOOST_CHECK_EXCEPTION(load(path), Error, says(path + ": "));
  BOOST_CHECK_EXCEPTION(load(path), Error, says(why));
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_are_numpys) {
  const NamedTensors expected = load_safetensors(folder + "values.safetensors");
  int nans = 0;
  for (const auto& [key, values] : expected) {
    const size_t slash = key.find('/');
    const NamedTensors loaded = load_tensors(folder + key.substr(0, slash));
    const std::string name = key.substr(slash + 1);
    const auto found = std::find_if(loaded.begin(), loaded.end(),
                                    [&](const auto& one) { return one.first == name; });
    BOOST_TEST_REQUIRE((found != loaded.end()), key);
    const Tensor& x = found->second;
    BOOST_TEST((x.dtype() == values.dtype() && x.shape() == values.shape()), key);
    const bool special = key.starts_with("special");
    if (!special) BOOST_TEST(same(x, values), key);
    for (int64_t i = 0; special && i < x.numel(); ++i) {
      const double a = x.at({i}), b = values.at({i});
      nans += std::isnan(a);
      BOOST_TEST(
          ((std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b))),
          key << " " << i << ": " << a << ", not " << b);
    }
  }
  BOOST_TEST(expected.size() > 25);
  BOOST_TEST(nans == 6);
  BOOST_TEST(load_npz(folder + "none.npz").empty());
}

// By the definition of binary16.
BOOST_AUTO_TEST_CASE(every_half) {
  std::string bytes = read_file(folder + "special_f2_little.npy");
  bytes = bytes.substr(0, bytes.find('\n') + 1);
  // The padding leaves room for more digits.
  bytes = replaced(bytes, "(13,), }    ", "(65536,), } ");
  for (int i = 0; i < 1 << 16; ++i) {
    bytes += static_cast<char>(i & 0xFF);
    bytes += static_cast<char>(i >> 8);
  }
  bytes = replaced(bytes, " \n", "\n");
  bytes = with_number(bytes, 8, static_cast<uint64_t>(bytes.find('\n')) - 9, 2);
  const File file(".npy", bytes);
  const std::vector<float> values = load_npy(file.path).to_vector<float>();
  int wrong = 0;
  for (int i = 0; i < 1 << 16; ++i) {
    const int exponent = i >> 10 & 31, fraction = i & 1023;
    const double magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    const double expected = i >> 15 ? -magnitude : magnitude;
    const auto value = static_cast<double>(values[static_cast<size_t>(i)]);
    wrong += !((std::isnan(value) && std::isnan(expected)) ||
               (value == expected && std::signbit(value) == std::signbit(expected)));
  }
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(arrays_are_written_as_numpy_writes_them) {
  const File file(".npy");
  int count = 0;
  for (const auto& path : files("plain_")) {
    save_npy(file.path, load_npy(path.string()));
    BOOST_TEST((read_file(file.path) == read_file(path.string())), path);
    ++count;
  }
  BOOST_TEST(count == 7);
  const int64_t strides[] = {1, 3};
  save_npy(file.path, as_strided(arange(12), {3, 4}, strides, 0));
  BOOST_TEST(
      (load_npy(file.path).to_vector<int>() == std::vector{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}));
}

BOOST_AUTO_TEST_CASE(npz_files_hold_what_was_saved) {
  const File file(".npz");
  const NamedTensors tensors{{"layer.weight", Tensor::of({{1, 2}, {3, 4}})},
                             {"a/b \"\xc3\xa9\"", arange(3)},
                             {"", zeros({0, 3}, DType::f64)},
                             {"flag", full({}, 1, DType::boolean)}};
  save_tensors(file.path, tensors);
  const NamedTensors loaded = load_tensors(file.path);
  BOOST_TEST_REQUIRE(loaded.size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    BOOST_TEST((loaded[i].first == tensors[i].first && same(loaded[i].second, tensors[i].second)));
  // Python's own reader of zip files finds each member whole, and as save_npy writes it.
  const File one(".npy");
  for (const auto& [name, x] : tensors) {
    save_npy(one.path, x);
    if (std::system("command -v python3 >/dev/null") != 0) continue;
    const std::string script =
        "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; "
        "assert z.read(sys.argv[2] + '.npy') == open(sys.argv[3], 'rb').read()";
    BOOST_TEST(
        std::system(fmt::format("python3 -c \"{}\" {} '{}' {}", script, file.path, name, one.path)
                        .c_str()) == 0);
  }
  const std::string before = read_file(file.path);
  BOOST_CHECK_EXCEPTION(save_npz(file.path, {{"x", ones({1})}, {"x", ones({2})}}), Error,
                        says("two tensors are called x"));
  BOOST_CHECK_EXCEPTION(save_npz(file.path, {{"\xff", ones({1})}}), Error, says("is not UTF-8"));
  BOOST_CHECK_EXCEPTION(save_npz(file.path, {{std::string(70000, 'x'), ones({1})}}), Error,
                        says("a name of 70000 bytes"));
  BOOST_TEST(read_file(file.path) == before);
  BOOST_CHECK_EXCEPTION(save_tensors("x.npy", tensors), Error, says("holds one tensor, not 4"));
}

BOOST_AUTO_TEST_CASE(what_numpy_refuses_is_refused) {
  int count = 0;
  for (const char* begin : {"refused_", "ours_refused_"})
    for (const auto& path : files(begin)) {
      refused(load_npy, path.string(), "");
      ++count;
    }
  BOOST_TEST(count == 19);
  const auto why = [](const char* name, const std::string& what) {
    refused(load_npy, folder + name + ".npy", what);
  };
  why("refused_magic", "not an array of numpy.save");
  why("refused_version", "format version 4");
  why("refused_short", "7 bytes of elements where its header, (2,) <f4, promises 8");
  why("refused_shape", "promises 4000000000000");
  why("refused_long_header", "a header of 100");
  why("refused_type", "elements of type \"<f3\"");
  why("ours_refused_structure", "not a dictionary of descr, fortran_order and shape");
  why("ours_refused_integer", "has a number 9223372036854775808, which i64 cannot hold");
}

BOOST_AUTO_TEST_CASE(truncated_and_damaged_files_are_told) {
  const std::string array = read_file(folder + "plain_f4.npy");
  const File npy(".npy");
  for (size_t size = 0; size < array.size(); ++size) {
    npy.write(array.substr(0, size));
    BOOST_CHECK_EXCEPTION(load_npy(npy.path), Error, says(npy.path));
  }
  npy.write(array + '\0');
  refused(load_npy, npy.path, "49 bytes of elements");
  const File npz(".npz");
  for (const char* name : {"stored.npz", "deflated.npz"}) {
    const std::string archive = read_file(folder + name);
    const NamedTensors expected = load_npz(folder + name);
    for (size_t size = 0; size < archive.size(); ++size) {
      npz.write(archive.substr(0, size));
      BOOST_CHECK_EXCEPTION(load_npz(npz.path), Error, says(npz.path));
    }
    for (size_t i = 0; i < archive.size(); ++i) {  // what a bit changes is told, or means nothing
      std::string changed = archive;
      changed[i] = static_cast<char>(changed[i] ^ 4);
      npz.write(changed);
      try {
        const NamedTensors loaded = load_npz(npz.path);
        BOOST_TEST_REQUIRE(loaded.size() == expected.size(), name << " " << i);
        for (size_t k = 0; k < loaded.size(); ++k)
          BOOST_TEST(same(loaded[k].second, expected[k].second), name << " " << i);
      } catch (const Error& error) {
        BOOST_TEST(says(npz.path)(error));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(directories_that_lie) {
  const File file(".npz");
  save_npz(file.path, {{"a", ones({4})}, {"b", ones({4})}});
  const std::string good = read_file(file.path);
  const size_t first = good.find("PK\1\2"), second = good.find("PK\1\2", first + 1),
               end = good.find("PK\5\6");
  const auto lie = [&](size_t at, uint64_t value, size_t size, const std::string& why) {
    file.write(with_number(good, at, value, size));
    refused(load_npz, file.path, why);
  };
  lie(first + 8, 1, 2, "encrypted");
  lie(first + 10, 9, 2, "neither stored nor deflated");
  lie(first + 10, 8, 2, "a.npy: truncated within its header");
  lie(first + 16, 7, 4, "a.npy: its bytes are damaged, by their CRC-32");
  lie(first + 20, 0xFFFFFFFF, 4, "zip64");
  lie(first + 24, 1 << 30, 4, "cannot have the size that its directory says");
  lie(first + 42, 1, 4, "is not where");
  lie(second + 42, 0, 4, "b.npy: is not where");
  lie(second + 28, 400, 2, "its directory is too short");
  lie(end + 4, 1, 2, "several parts");
  lie(end + 10, 0xFFFF, 2, "several parts");
  lie(end + 12, 1, 4, "its directory lies elsewhere");
  lie(end + 16, 0xFFFFFFFF, 4, "zip64");
  lie(end + 20, 1, 2, "no zip directory ends it");
  std::string fewer = with_number(with_number(good, end + 8, 1, 2), end + 10, 1, 2);
  file.write(fewer);
  refused(load_npz, file.path, "its directory is too long");
  std::string shared = replaced(good, "b.npyPK\5\6", "a.npyPK\5\6");
  file.write(with_number(shared, second + 42, 0, 4));
  refused(load_npz, file.path, "two tensors are called a");
  file.write(replaced(replaced(good, "a.npy", "a.txt"), "a.npy", "a.txt"));
  refused(load_npz, file.path, "\"a.txt\" is no array of numpy.save");
  file.write(good + std::string(300, '\0'));
  refused(load_npz, file.path, "no zip directory ends it");
  std::string commented = with_number(good, end + 20, 5, 2) + "hello";
  file.write(commented);
  BOOST_TEST(load_npz(file.path).size() == 2);
}

#ifndef GRADUS_SANITIZED  // which takes memory of its own
BOOST_AUTO_TEST_CASE(what_a_header_promises_is_not_reserved) {
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
  };
  const int64_t before = peak();
  const std::string array = read_file(folder + "plain_f4.npy");
  const File npy(".npy", replaced(array, "(3, 4), }        ", "(300000000, 4), }"));
  refused(load_npy, npy.path, "promises 4800000000");
  const std::string archive = read_file(folder + "deflated.npz");
  const size_t at = archive.find("PK\1\2");
  const File npz(".npz", with_number(archive, at + 24, 1000000000, 4));
  refused(load_npz, npz.path, "cannot have the size");
  BOOST_TEST(peak() - before < 64);
}
#endif
