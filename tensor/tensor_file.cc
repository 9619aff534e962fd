#include <gradus/base/detail/json.h>
#include <gradus/tensor/detail/named_tensors.h>
#include <gradus/tensor/npy.h>
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

// A file of one array, which numpy.savez would call arr_0.
constexpr const char* kUnnamed = "arr_0";
void save_one_npy(const std::string& path, const NamedTensors& tensors) {
  check(tensors.size() == 1, "{}: an npy file holds one tensor, not {}; save them as .npz", path,
        tensors.size());
  save_npy(path, tensors[0].second);
}
NamedTensors load_one_npy(const std::string& path) { return {{kUnnamed, load_npy(path)}}; }

// The first serves every path whose ending is no other's.
constexpr Format kFormats[] = {
    {".safetensors", save_safetensors, load_safetensors},
    {".npz", save_npz, load_npz},
    {".npy", save_one_npy, load_one_npy},
};

const Format& format_of(std::string_view path) {
  for (const Format& format : kFormats)
    if (path.ends_with(format.ending)) return format;
  return kFormats[0];
}

/// Where x's k-th element lies.
const char* place(const Tensor& x, int64_t k) {
  int64_t offset = 0;
  for (int i = x.ndim() - 1; i >= 0; --i) {
    offset += k % x.shape()[i] * x.strides()[i];
    k /= x.shape()[i];
  }
  return x.strided_bytes() + offset * static_cast<int64_t>(size_of(x.dtype()));
}

/// Whether two values say the same of the memory that their tensors share.
bool agree(const detail::Loaded& a, const detail::Loaded& b) {
  const auto bytes = static_cast<int64_t>(size_of(a.tensor.dtype()));
  const Tensor in_a = raw::contiguous(a.value), in_b = raw::contiguous(b.value);
  const auto same = [&](int64_t i, int64_t k) {
    return std::memcmp(in_a.bytes() + i * bytes, in_b.bytes() + k * bytes,
                       static_cast<size_t>(bytes)) == 0;
  };
  std::unordered_map<const char*, int64_t> places;
  for (int64_t i = 0; i < a.tensor.numel(); ++i) places.emplace(place(a.tensor, i), i);
  for (int64_t k = 0; k < b.tensor.numel(); ++k)
    if (const auto found = places.find(place(b.tensor, k));
        found != places.end() && !same(found->second, k))
      return false;
  return true;
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
  std::unordered_map<const void*, std::vector<const Loaded*>> known;  // by their memory
  for (const Loaded& one : all) {
    std::vector<const Loaded*>& sharing = known[one.tensor.storage_id()];
    for (const Loaded* first : sharing)
      if (raw::overlap(first->tensor, one.tensor) && !agree(*first, one))
        fail("{}: {} {} and {} {} share memory, and are given different values for it", where,
             first->name, first->tensor.shape(), one.name, one.tensor.shape());
    sharing.push_back(&one);
  }
}

}  // namespace gradus
