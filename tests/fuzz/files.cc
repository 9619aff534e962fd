#include "tests/fuzz/files.h"

#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/data/gzip.h>
#include <gradus/data/idx.h>
#include <gradus/tensor/safetensors.h>
#include <gradus/training/checkpoint.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <ostream>
#include <vector>

namespace gradus::fuzz {

namespace {

/// A file that each input becomes, in memory where the system has such a folder.
struct File {
  std::string path = [] {
    const std::filesystem::path shared = "/dev/shm";
    return ((std::filesystem::is_directory(shared) ? shared
                                                   : std::filesystem::temp_directory_path()) /
            fmt::format("gradus-fuzz-{}", ::getpid()))
        .string();
  }();
  ~File() { ::unlink(path.c_str()); }
};

const std::string& path() {
  static const File file;
  return file.path;
}

/// What is wrong with an Error about the file: it has to name it.
std::string unnamed(const Error& error, const std::string& file) {
  const std::string text = error.what();
  return text.find(file) != text.npos ? "" : "an Error that does not name the file: " + text;
}

bool same(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto& [name, x] = a[i];
    const auto& [other, y] = b[i];
    if (name != other || x.shape() != y.shape() || x.dtype() != y.dtype()) return false;
    const auto bytes = static_cast<size_t>(x.numel()) * size_of(x.dtype());
    if (bytes > 0 && std::memcmp(x.bytes(), y.bytes(), bytes) != 0) return false;
  }
  return true;
}

std::string safetensors() {
  const NamedTensors tensors = load_safetensors(path());
  save_safetensors(path(), tensors);
  return same(tensors, load_safetensors(path())) ? "" : "what was loaded is saved as another";
}

std::string idx() {
  const Tensor x = read_idx(path());
  for (const int64_t value : x.to_vector<int64_t>())
    if (value < 0 || value > 255) return "an IDX file of bytes holds another number";
  return "";
}

std::string checkpoint() {
  int64_t step = 3;
  std::vector<double> list{1, 2};
  Tensor x = ones({2});
  Generator generator(1);
  Checkpoint all;
  all.add("step", step).add("list", list).add("x", x).add("generator", generator);
  const Generator::State state = generator.state();
  try {
    all.load(path());
  } catch (const Error& error) {
    const bool as_before = step == 3 && list == std::vector<double>{1, 2} && x.at({0}) == 1 &&
                           x.at({1}) == 1 && generator.state() == state;
    return as_before ? unnamed(error, path()) : "a checkpoint that does not fit changed something";
  }
  return "";
}

}  // namespace

std::string read_file_of(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return "";
  const uint8_t kind = bytes[0] % 4;
  bytes = bytes.subspan(1);
  write_file(path(), [&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  });
  try {
    if (kind == 0) return safetensors();
    if (kind == 1) return idx();
    if (kind == 2) return MaybeGzipped("input", bytes.data(), bytes.size()).read(1 << 24), "";
    return checkpoint();
  } catch (const Error& error) {
    return unnamed(error, kind == 2 ? "input" : path());
  } catch (const std::exception& error) {
    return std::string("no Error: ") + error.what();
  }
  return "";
}

}  // namespace gradus::fuzz
