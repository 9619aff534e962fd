#include "tests/fuzz/files.h"

#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/data/csv.h>
#include <gradus/data/gzip.h>
#include <gradus/data/idx.h>
#include <gradus/tensor/npy.h>
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

/// What one of the formats holds comes back as it was.
std::string tensors(NamedTensors (*load)(const std::string&),
                    void (*save)(const std::string&, const NamedTensors&)) {
  const NamedTensors loaded = load(path());
  save(path(), loaded);
  return same(loaded, load(path())) ? "" : "what was loaded is saved as another";
}

std::string npy() {
  return tensors(
      [](const std::string& file) {
        return NamedTensors{{"", load_npy(file)}};
      },
      [](const std::string& file, const NamedTensors& all) { save_npy(file, all[0].second); });
}

std::string idx() {
  const bool bytes = read_file(path()).starts_with(std::string("\0\0\x08", 3));
  const Tensor x = read_idx(path());
  if (bytes)
    for (const int64_t value : x.to_vector<int64_t>())
      if (value < 0 || value > 255) return "an IDX file of bytes holds another number";
  return "";
}

std::string csv() {
  const Table table = load_csv(path());
  std::vector<std::pair<std::string, CsvColumn>> columns;
  for (const std::string& column : table.columns())
    columns.emplace_back(column, table.text(column));
  try {
    table.numbers(table.columns(), DType::f64, 0);
  } catch (const Error& error) {
    const std::string wrong = unnamed(error, path());
    if (!wrong.empty()) return wrong;
  }
  save_csv(path(), columns);
  const Table again = load_csv(path());
  bool same = again.columns() == table.columns();
  for (const auto& [name, texts] : columns)
    same = same && again.text(name) == std::get<std::vector<std::string>>(texts);
  return same ? "" : "a table that was loaded is saved as another";
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
  const uint8_t kind = bytes[0] % 16;  // 4 to 15: what joined later
  bytes = bytes.subspan(1);
  write_file(path(), [&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  });
  try {
    if (kind == 0) return tensors(load_safetensors, save_safetensors);
    if (kind == 1) return idx();
    if (kind == 2) return MaybeGzipped("input", bytes.data(), bytes.size()).read(1 << 24), "";
    if (kind == 4) return csv();
    if (kind == 5) return npy();
    if (kind == 6) return tensors(load_npz, save_npz);
    return checkpoint();
  } catch (const Error& error) {
    return unnamed(error, kind == 2 ? "input" : path());
  } catch (const std::exception& error) {
    return std::string("no Error: ") + error.what();
  }
  return "";
}

}  // namespace gradus::fuzz
