#include <gradus/base/detail/json.h>
#include <gradus/base/file.h>
#include <gradus/tensor/safetensors.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace gradus {

namespace {

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

/// What the header says of one tensor.
struct Entry {
  std::string name, dtype;
  std::vector<uint64_t> shape, data_offsets;
  bool has_shape = false;
};

/// Throws if a name is there twice.
template <class Named, class NameOf>
void check_names(const std::string& path, const Named& named, NameOf name_of) {
  std::unordered_set<std::string_view> names;
  for (const auto& one : named)
    if (!names.insert(name_of(one)).second)
      fail("{}: two tensors are called {}", path, name_of(one));
}

/// Hears the header as it is parsed (nlohmann's SAX), and keeps nothing but the entries: what it
/// takes of memory and stack does not depend on how deep the rest is nested.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}
  std::vector<Entry> entries;

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("a boolean"); }
  bool number_integer(int64_t) override { return other("a negative number"); }
  bool number_float(double, const std::string&) override { return other("a fraction"); }
  bool binary(nlohmann::json::binary_t&) override { return other("binary data"); }
  bool number_unsigned(uint64_t value) override {
    if (!list_) return other("a number");
    const size_t most = list_ == &entries.back().shape ? Shape::kMaxDims : 2;
    if (list_->size() == most) wrong(fmt::format("more than {} numbers in a list", most));
    list_->push_back(value);
    return true;
  }
  bool string(std::string& value) override {
    if (depth_ != kFields || field_ != "dtype") return other("text");
    entries.back().dtype = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ >= kFields || list_) other("an object");
    return deeper();
  }
  bool key(std::string& name) override {
    if (depth_ == kFields) field_ = name;
    if (depth_ != kNames) return true;
    metadata_ = name == "__metadata__";
    field_.clear();
    if (!metadata_) entries.emplace_back().name = std::move(name);
    return true;
  }
  bool end_object() override {
    if (--depth_ != kNames || metadata_) return true;
    if (!entries.back().has_shape || entries.back().data_offsets.size() != 2)
      wrong("a shape and two data_offsets are needed");
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ < kFields || list_) other("a list");
    if (depth_ == kFields && !metadata_) {
      list_ = field_ == "shape"          ? &entries.back().shape
              : field_ == "data_offsets" ? &entries.back().data_offsets
                                         : nullptr;
      if (list_) list_->clear();
      if (field_ == "shape") entries.back().has_shape = true;
      if (field_ == "dtype") other("a list");
    }
    return deeper();
  }
  bool end_array() override {
    --depth_;
    list_ = nullptr;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    fail("{}: the header is not what safetensors says: {}", path_, error.what());
  }

 private:
  // The depth at which names of tensors stand, and that of their fields.
  static constexpr int kNames = 1, kFields = 2, kDeepest = 16;

  [[noreturn]] void wrong(const std::string& what) const {
    fail("{}: the header is not what safetensors says: {}{}{}", path_,
         entries.empty() ? "" : entries.back().name, entries.empty() ? "" : ": ", what);
  }
  /// A value that is not the one that stands here; in fields that are not ours it may be anything.
  bool other(const char* what) const {
    const bool ours = depth_ < kFields || list_ ||
                      (depth_ == kFields && !metadata_ &&
                       (field_ == "dtype" || field_ == "shape" || field_ == "data_offsets"));
    if (ours)
      wrong(fmt::format("{}{}{} where it has no place", field_, field_.empty() ? "" : ": ", what));
    return true;
  }
  bool deeper() {
    if (++depth_ > kDeepest) wrong(fmt::format("nested more than {} deep", kDeepest));
    return true;
  }

  const std::string& path_;
  int depth_ = 0;
  bool metadata_ = false;
  std::string field_;
  std::vector<uint64_t>* list_ = nullptr;  // that is being read
};

Tensor read_tensor(const std::string& path, const Entry& entry, uint64_t data_size,
                   std::ifstream& file, uint64_t data_begin) {
  const DType dtype = type_from(path, entry.name, entry.dtype);
  Shape shape;
  const bool no_elements =
      std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end();
  uint64_t bytes = no_elements ? 0 : size_of(dtype);
  for (const uint64_t n : entry.shape) {
    check(no_elements || bytes <= data_size / n, "{}: {} is larger than the file", path,
          entry.name);
    bytes *= n;
    shape.push_back(static_cast<int64_t>(n));
  }
  const uint64_t begin = entry.data_offsets[0], end = entry.data_offsets[1];
  check(begin <= end && end <= data_size && end - begin == bytes,
        "{}: {} {} should lie in bytes {} to {} of {}", path, entry.name, shape, begin, end,
        data_size);
  Tensor x = empty(shape, dtype);
  file.seekg(static_cast<std::streamoff>(data_begin + begin));
  file.read(x.mutable_bytes(), static_cast<std::streamsize>(bytes));
  check(file.good() || bytes == 0, "{}: {} cannot be read", path, entry.name);
  if (dtype == DType::boolean)
    for (const char byte : std::span(x.bytes(), bytes))
      check(byte == 0 || byte == 1, "{}: {} {} BOOL has a byte {}, which is neither 0 nor 1", path,
            entry.name, shape, static_cast<int>(static_cast<unsigned char>(byte)));
  return x;
}

std::string header_of(const std::string& path, const NamedTensors& tensors) {
  check_names(path, tensors, [](const auto& named) -> std::string_view { return named.first; });
  detail::JsonList header('{');
  uint64_t offset = 0;
  for (const auto& [name, x] : tensors) {
    check(detail::is_utf8(name), "{}: a tensor's name is not UTF-8: {}", path, detail::json(name));
    const uint64_t end = offset + static_cast<uint64_t>(x.numel()) * size_of(x.dtype());
    header.add(name, detail::JsonList('{')
                         .add("dtype", type_name(x.dtype()))
                         .add("shape", x.shape())
                         .add("data_offsets", std::array{offset, end}));
    offset = end;
  }
  std::string text = header.text();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= kLargestHeader, "{}: the header of {} tensors has {} bytes, more than {}",
        path, tensors.size(), text.size(), kLargestHeader);
  return text;
}

}  // namespace

void save_safetensors(const std::string& path, const NamedTensors& tensors) {
  const std::string text = header_of(path, tensors);
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
  HeaderReader header(path);
  nlohmann::json::sax_parse(text, &header);
  check_names(path, header.entries, [](const Entry& e) -> std::string_view { return e.name; });
  NamedTensors tensors;
  for (const Entry& entry : header.entries)
    tensors.emplace_back(entry.name, read_tensor(path, entry, size - 8 - length, file, 8 + length));
  return tensors;
}

}  // namespace gradus
