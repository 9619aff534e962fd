#include <gradus/base/file.h>
#include <gradus/tensor/safetensors.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace gradus {

namespace {

using Json = nlohmann::ordered_json;

// Eight bytes of little-endian header length, a JSON header, the elements; host order is
// little-endian on every processor this is built for.
constexpr uint64_t kLargestHeader = 100'000'000;

const char* type_name(DType dtype) {
  return detail::with_row(dtype, [](const auto& row) { return row.file_name; });
}

DType type_from(const std::string& path, const std::string& tensor, const std::string& text) {
  std::string names;
  for (size_t i = 0; i < detail::kDTypeCount; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (text == type_name(dtype)) return dtype;
    names += (i == 0                        ? ""
              : i + 1 < detail::kDTypeCount ? ", "
                                            : " and ") +
             std::string(type_name(dtype));
  }
  throw Error(fmt::format("{}: {} has dtype {}, only {} are read", path, tensor, text, names));
}

Tensor read_tensor(const std::string& path, const std::string& name, const Json& entry,
                   uint64_t data_size, std::ifstream& file, uint64_t data_begin) {
  const DType dtype = type_from(path, name, entry.at("dtype").get<std::string>());
  Shape shape;
  uint64_t bytes = size_of(dtype);
  for (const Json& size : entry.at("shape")) {
    const uint64_t n = size.get<uint64_t>();
    check(n == 0 || bytes <= data_size / n || bytes == 0, "{}: {} is larger than the file", path,
          name);
    bytes *= n;
    shape.push_back(static_cast<int64_t>(n));
  }
  const auto begin = entry.at("data_offsets").at(0).get<uint64_t>();
  const auto end = entry.at("data_offsets").at(1).get<uint64_t>();
  check(begin <= end && end <= data_size && end - begin == bytes,
        "{}: {} {} should lie in bytes {} to {} of {}", path, name, shape, begin, end, data_size);
  Tensor x = empty(shape, dtype);
  file.seekg(static_cast<std::streamoff>(data_begin + begin));
  file.read(x.mutable_bytes(), static_cast<std::streamsize>(bytes));
  check(file.good() || bytes == 0, "{}: {} cannot be read", path, name);
  return x;
}

}  // namespace

void save_safetensors(const std::string& path, const NamedTensors& tensors) {
  Json header = Json::object();
  uint64_t offset = 0;
  for (const auto& [name, x] : tensors) {
    const uint64_t bytes = static_cast<uint64_t>(x.numel()) * size_of(x.dtype());
    check(!header.contains(name), "{}: two tensors are called {}", path, name);
    header[name] = {{"dtype", type_name(x.dtype())},
                    {"shape", std::vector<int64_t>(x.shape().begin(), x.shape().end())},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  write_file(path, [&](std::ostream& file) {
    const uint64_t length = text.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << text;
    for (const auto& [name, x] : tensors) {
      const Tensor values = raw::contiguous(x);
      file.write(values.bytes(), static_cast<std::streamsize>(x.numel()) *
                                     static_cast<std::streamsize>(size_of(x.dtype())));
    }
  });
}

NamedTensors load_safetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  check(file.good(), "{}: cannot be opened", path);
  const auto size = static_cast<uint64_t>(file.tellg());
  uint64_t length = 0;
  file.seekg(0);
  file.read(reinterpret_cast<char*>(&length), sizeof length);
  check(file.good() && length <= kLargestHeader && length <= size - 8,
        "{}: not a safetensors file: {} bytes with a header of {}", path, size, length);
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  NamedTensors tensors;
  try {
    const Json header = Json::parse(text);
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__")
        tensors.emplace_back(name,
                             read_tensor(path, name, entry, size - 8 - length, file, 8 + length));
    }
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: the header is not what safetensors says: {}", path, error.what()));
  }
  return tensors;
}

}  // namespace gradus
