#include <gradus/tensor/safetensors.h>
#include <gradus/tensor/tensor_file.h>

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

}  // namespace gradus
