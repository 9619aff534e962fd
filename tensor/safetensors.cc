#include <gradus/base/detail/json.h>
#include <gradus/base/file.h>
#include <gradus/tensor/detail/file_elements.h>
#include <gradus/tensor/detail/named_tensors.h>
#include <gradus/tensor/safetensors.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>
#include <unordered_set>

namespace gradus {

namespace {

// Eight bytes of little-endian header length, a JSON header, the elements; host order is
// little-endian on every processor this is built for.
constexpr uint64_t kLargestHeader = 100'000'000;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
using detail::kMetadata;

const detail::FileElement& element_from(const std::string& path, const std::string& tensor,
                                        const std::string& text) {
  const detail::FileElement* const element = detail::find_safetensors_element(text);
  if (!element)
    fail("{}: {} has dtype {}, only {} are read", path, tensor, text,
         detail::safetensors_elements());
  return *element;
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
/// takes of memory and stack does not depend on how deep the rest is nested. It takes what the
/// format's reference reader takes, but for tensors and dtypes that are written in another way.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}
  std::vector<Entry> entries;

  bool null() override { return (metadata_ && depth_ == kNames) || other("null"); }
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
    if (metadata_ && depth_ == kFields) return true;
    if (depth_ != kFields || field_ != "dtype") return other("text");
    entries.back().dtype = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ >= kFields || list_) other("an object");
    return deeper();
  }
  bool key(std::string& name) override {
    if (depth_ == kFields) new_field(name);
    if (depth_ != kNames) return true;
    if (metadata_) metadata_is_over_ = true;
    metadata_ = name == kMetadata;
    if (metadata_ && metadata_is_over_) wrong("is there twice");
    field_.clear();
    fields_ = 0;
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
    if (depth_ < kFields || list_ || metadata_) other("a list");
    if (depth_ == kFields) {
      list_ = field_ == "shape"          ? &entries.back().shape
              : field_ == "data_offsets" ? &entries.back().data_offsets
                                         : nullptr;
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
  static constexpr int kNames = 1, kFields = 2, kDeepest = 127;
  static constexpr std::string_view kOurs[] = {"dtype", "shape", "data_offsets"};

  [[noreturn]] void wrong(const std::string& what) const {
    const std::string_view name = metadata_         ? kMetadata
                                  : entries.empty() ? ""
                                                    : std::string_view(entries.back().name);
    fail("{}: the header is not what safetensors says: {}{}{}", path_, name,
         name.empty() ? "" : ": ", what);
  }
  void new_field(const std::string& name) {
    field_ = name;
    const auto* const ours = std::find(std::begin(kOurs), std::end(kOurs), field_);
    if (metadata_ || ours == std::end(kOurs)) return;
    const unsigned bit = 1U << (ours - std::begin(kOurs));
    if (fields_ & bit) wrong(field_ + " is there twice");
    fields_ |= bit;
  }
  /// A value that is not the one that stands here; in fields that are not ours it may be anything.
  bool other(const char* what) const {
    const bool ours = depth_ < kFields || list_ || metadata_ ||
                      (depth_ == kFields && std::ranges::find(kOurs, field_) != std::end(kOurs));
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
  bool metadata_ = false, metadata_is_over_ = false;
  std::string field_;
  unsigned fields_ = 0;                    // of kOurs that were there, a bit each
  std::vector<uint64_t>* list_ = nullptr;  // that is being read
};

/// The shape, if the element count and the bytes are those of the tensor's place.
Shape shape_of(const std::string& path, const Entry& entry, size_t element_bytes) {
  Shape shape;
  uint64_t bytes = element_bytes;
  for (const uint64_t n : entry.shape) {
    check(
        n == 0 || std::max(bytes, uint64_t{1}) <= uint64_t{std::numeric_limits<int64_t>::max()} / n,
        "{}: {} is larger than the file", path, entry.name);
    bytes *= n;
    shape.push_back(static_cast<int64_t>(n));
  }
  const uint64_t begin = entry.data_offsets[0], end = entry.data_offsets[1];
  check(end - begin == bytes, "{}: {} {} has {} bytes, in the file {} to {}", path, entry.name,
        shape, bytes, begin, end);
  return shape;
}

Tensor read_tensor(const std::string& path, const Entry& entry, FileReader& file) {
  const detail::FileElement& element = element_from(path, entry.name, entry.dtype);
  const Shape shape = shape_of(path, entry, element.bytes);
  const std::string place = path + ": " + entry.name;
  Tensor x = [&] {
    const ErrorContext context(place);
    return empty(shape, element.dtype);
  }();
  detail::read_elements(
      place, [&](char* to, size_t count) { return file.read(to, count); }, element, false, x);
  return x;
}

/// The entries as they lie in the file, one behind the other up to its end.
std::vector<size_t> in_file_order(const std::string& path, const std::vector<Entry>& entries,
                                  uint64_t data_size) {
  std::vector<size_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) { return entries[i].data_offsets; });
  uint64_t at = 0;
  for (const size_t i : order) {
    const uint64_t begin = entries[i].data_offsets[0], end = entries[i].data_offsets[1];
    check(begin == at && end >= begin && end <= data_size,
          "{}: {} should lie in bytes {} to {} of {}, and begin at {}: tensors follow each other "
          "without holes",
          path, entries[i].name, begin, end, data_size, at);
    at = end;
  }
  check(at == data_size, "{}: {} bytes behind the last tensor", path, data_size - at);
  return order;
}

std::string header_of(const std::string& path, const NamedTensors& tensors) {
  check_names(path, tensors, [](const auto& named) -> std::string_view { return named.first; });
  for (const auto& [name, x] : tensors) detail::check_name_in_file(path, name);
  detail::JsonList header('{');
  uint64_t offset = 0;
  for (const auto& [name, x] : tensors) {
    const uint64_t end = offset + static_cast<uint64_t>(x.numel()) * size_of(x.dtype());
    header.add(name, detail::JsonList('{')
                         .add("dtype", detail::file_element(x.dtype()).safetensors)
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
  FileReader file(path);
  uint64_t length = 0;
  const size_t got = file.read(reinterpret_cast<char*>(&length), sizeof length);
  check(
      got == sizeof length && file.size() >= 8 && length <= kLargestHeader &&
          length <= file.size() - 8,
      "{}: not a safetensors file, which is the format that is read: {} bytes with a header of {}",
      path, file.size(), length);
  std::string text(length, '\0');
  // nlohmann passes over a mark at the beginning, and takes a zero for the end.
  check(file.read(text.data(), length) == length && !text.starts_with(kByteOrderMark) &&
            text.find('\0') == std::string::npos,
        "{}: the header is not what safetensors says: it is no UTF-8 text of JSON", path);
  HeaderReader header(path);
  nlohmann::json::sax_parse(text, &header);
  const std::vector<Entry>& entries = header.entries;
  check_names(path, entries, [](const Entry& e) -> std::string_view { return e.name; });
  NamedTensors tensors(entries.size());
  for (const size_t i : in_file_order(path, entries, file.size() - 8 - length))
    tensors[i] = {entries[i].name, read_tensor(path, entries[i], file)};
  return tensors;
}

}  // namespace gradus
