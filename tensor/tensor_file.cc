#include <gradus/base/detail/json.h>
#include <gradus/tensor/detail/named_tensors.h>
#include <gradus/tensor/safetensors.h>
#include <gradus/tensor/tensor_file.h>

#include <cstring>
#include <unordered_map>

namespace gradus {

namespace {

/// A file format: the ending of its files, and its two functions.
struct Format {
  std::string_view ending;
  void (*save)(const std::string& path, const NamedTensors& tensors);
  NamedTensors (*load)(const std::string& path);
};

// The first serves every path whose ending is no other's.
constexpr Format kFormats[] = {{".safetensors", save_safetensors, load_safetensors}};

const Format& format_of(std::string_view path) {
  for (const Format& format : kFormats)
    if (path.ends_with(format.ending)) return format;
  return kFormats[0];
}

}  // namespace

void save_tensors(const std::string& path, const NamedTensors& tensors) {
  format_of(path).save(path, tensors);
}

NamedTensors load_tensors(const std::string& path) { return format_of(path).load(path); }

void detail::check_name_in_file(std::string_view where, std::string_view name) {
  check(name != kMetadata, "{}: no tensor can be called {}, which means something else in a file",
        where, name);
  if (!is_utf8(name)) fail("{}: a tensor's name is not UTF-8: {}", where, json(name));
}

void detail::check_one_value(std::string_view where, const std::vector<Loaded>& all) {
  std::unordered_map<const void*, const Loaded*> known;
  for (const Loaded& one : all) {
    const auto [found, is_new] = known.emplace(one.tensor.id(), &one);
    if (is_new) continue;
    const Loaded& first = *found->second;
    const Tensor a = raw::contiguous(first.value), b = raw::contiguous(one.value);
    const size_t size = static_cast<size_t>(a.numel()) * size_of(a.dtype());
    if (std::memcmp(a.bytes(), b.bytes(), size) != 0)
      fail("{}: {} and {} are one tensor {}, and are given two different values", where, first.name,
           one.name, one.tensor.shape());
  }
}

}  // namespace gradus
