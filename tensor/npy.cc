#include <gradus/base/detail/json.h>
#include <gradus/base/file.h>
#include <gradus/tensor/detail/file_elements.h>
#include <gradus/tensor/detail/named_tensors.h>
#include <gradus/tensor/npy.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <ostream>
#include <unordered_set>

namespace gradus {

namespace {

using detail::ByteSource;
using detail::FileElement;

// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
constexpr std::string_view kMagic = "\x93NUMPY", kEnding = ".npy";
constexpr size_t kLongestHeader = 10000;  // as numpy's
constexpr size_t kAlignment = 64;
constexpr size_t kDigitsOfASize = 21;  // numpy leaves room for a longer first axis

/// Reads the header's Python dictionary.
class HeaderParser {
 public:
  HeaderParser(std::string_view what, std::string_view text) : what_(what), text_(text) {
    need('{');
    while (!take('}')) {
      const std::string key = string();
      need(':');
      if (key == "descr" && descr.empty())
        descr = string();
      else if (key == "fortran_order" && !fortran_)
        fortran_ = boolean();
      else if (key == "shape" && !shape_)
        shape_ = tuple();
      else
        wrong();
      if (!take(',') && !at('}')) wrong();
    }
    blanks();
    if (!text_.empty() || descr.empty() || !fortran_ || !shape_) wrong();
  }

  std::string descr;
  bool fortran_order() const { return *fortran_; }
  const Shape& shape() const { return *shape_; }

 private:
  [[noreturn]] void wrong() const {
    fail(
        "{}: its header is not a dictionary of descr, fortran_order and shape of an array of plain "
        "numbers",
        what_);
  }
  void blanks() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size())); }
  bool at(char c) {
    blanks();
    return text_.starts_with(c);
  }
  bool take(char c) {
    const bool found = at(c);
    if (found) text_.remove_prefix(1);
    return found;
  }
  void need(char c) {
    if (!take(c)) wrong();
  }
  std::string string() {
    const char quote = at('"') ? '"' : '\'';
    need(quote);
    const size_t end = text_.find(quote);
    if (end == std::string_view::npos || end == 0) wrong();
    std::string result(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return result;
  }
  bool boolean() {
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      blanks();
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    wrong();
  }
  Shape tuple() {
    Shape sizes;
    bool comma = false;
    need('(');
    while (!take(')')) {
      blanks();
      int64_t size = -1;
      const auto [end, failure] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (failure != std::errc() || size < 0) wrong();
      check(sizes.ndim() < Shape::kMaxDims, "{}: an array of more than {} dimensions", what_,
            Shape::kMaxDims);
      sizes.push_back(size);
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      take('L');  // of Python 2
      comma = take(',');
      if (!comma && !at(')')) wrong();
    }
    if (sizes.ndim() == 1 && !comma) wrong();
    return sizes;
  }

  std::string_view what_, text_;
  std::optional<bool> fortran_;
  std::optional<Shape> shape_;
};

const FileElement& element_of(std::string_view what, const std::string& descr) {
  const std::string_view code = std::string_view(descr).substr(1);
  const FileElement* const element =
      std::string_view("<>|=").find(descr[0]) == std::string_view::npos
          ? nullptr
          : detail::find_npy_element(code);
  if (!element)
    fail(
        "{}: holds elements of type {}; read are f2, f4, f8, integers and b1, of either byte order",
        what, detail::json(descr));
  return *element;
}

Shape reversed(const Shape& shape) {
  Shape result = shape;
  for (int i = 0; i < shape.ndim(); ++i) result[i] = shape[shape.ndim() - 1 - i];
  return result;
}

/// The array in `size` bytes.
Tensor read_array(const std::string& what, const ByteSource& source, uint64_t size) {
  std::array<unsigned char, 12> begin{};
  const auto read = [&](char* to, size_t count) {
    check(source(to, count) == count, "{}: truncated within its header", what);
  };
  char* const first = reinterpret_cast<char*>(begin.data());
  read(first, kMagic.size() + 2);
  check(std::string_view(first, kMagic.size()) == kMagic, "{}: not an array of numpy.save", what);
  const unsigned version = begin[kMagic.size()];
  check(version >= 1 && version <= 3, "{}: an array of format version {}, only 1 to 3 are read",
        what, version);
  const size_t bytes_of_length = version == 1 ? 2 : 4;
  read(first, bytes_of_length);
  size_t length = 0;
  for (size_t i = bytes_of_length; i-- > 0;) length = length << 8 | begin[i];
  check(length <= kLongestHeader, "{}: a header of {} bytes, more than {}", what, length,
        kLongestHeader);
  std::string text(length, '\0');
  read(text.data(), length);
  const HeaderParser header(what, text);
  const FileElement& element = element_of(what, header.descr);
  const uint64_t before = kMagic.size() + 2 + bytes_of_length + length;
  check(before <= size, "{}: truncated within its header", what);
  const uint64_t left = size - before;
  uint64_t promised = element.bytes;
  for (const int64_t n : header.shape())
    if (__builtin_mul_overflow(promised, static_cast<uint64_t>(n), &promised))
      promised = (std::numeric_limits<uint64_t>::max)();
  check(promised == left, "{}: {} bytes of elements where its header, {} {}, promises {}", what,
        left, header.shape(), header.descr, promised);
  const ErrorContext context(what);
  Tensor x =
      empty(header.fortran_order() ? reversed(header.shape()) : header.shape(), element.dtype);
  detail::read_elements(what, source, element, header.descr[0] == '>', x);
  if (!header.fortran_order()) return x;
  std::array<int64_t, Shape::kMaxDims> strides{};
  const auto ndim = static_cast<size_t>(x.ndim());
  for (size_t i = 0; i < ndim; ++i) strides[i] = x.strides()[ndim - 1 - i];
  return raw::contiguous(
      as_strided(x, header.shape(), std::span<const int64_t>(strides.data(), ndim), 0));
}

/// What numpy.save writes before the elements.
std::string header_of(const Tensor& x) {
  const Shape& shape = x.shape();
  std::string text = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': {}, }}",
                                 size_of(x.dtype()) == 1 ? '|' : '<',
                                 detail::file_element(x.dtype()).npy, str(shape));
  if (shape.ndim() > 0)
    text.resize(text.size() + kDigitsOfASize - std::to_string(shape[0]).size(), ' ');
  const size_t before = kMagic.size() + 4;
  const size_t size = ((before + text.size() + 1) / kAlignment + 1) * kAlignment - before;
  text.resize(size - 1, ' ');
  return std::string(kMagic) + '\1' + '\0' + static_cast<char>(size & 0xFF) +
         static_cast<char>(size >> 8) + text + '\n';
}

std::string_view bytes_of(const Tensor& x) {
  return {x.bytes(), static_cast<size_t>(x.numel()) * size_of(x.dtype())};
}

// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
constexpr std::string_view kLocal{"PK\3\4", 4}, kCentral{"PK\1\2", 4}, kEnd{"PK\5\6", 4};
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;
constexpr uint64_t kMostBytes = 0xFFFFFFFE;  // above stands what zip64 means
constexpr unsigned kStored = 0, kDeflated = 8, kEncrypted = 1, kUtf8 = 1U << 11,
                   kMostMembers = 0xFFFF;
constexpr uint64_t kMostInflated = 1032;  // bytes of one

/// Little-endian integers of a zip file, which has no others.
uint32_t number(std::string_view bytes, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}
void put(std::string& bytes, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
}

/// What a zip file's directory says of a member.
struct Member {
  std::string name;
  unsigned method = kStored;
  uint32_t crc = 0;
  uint64_t packed = 0, size = 0, begin = 0;  // begin: of its local header
};

/// A member's bytes, unpacked and, at their end, checked.
class MemberReader {
 public:
  MemberReader(std::string_view what, const Member& member, std::string_view packed)
      : what_(what), member_(member) {
    stream_.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(packed.data()));
    stream_.avail_in = static_cast<uInt>(packed.size());
    if (member.method == kDeflated)
      check(inflateInit2(&stream_, -MAX_WBITS) == Z_OK, "{}: zlib cannot be started", what);
  }
  MemberReader(const MemberReader&) = delete;
  MemberReader& operator=(const MemberReader&) = delete;
  ~MemberReader() {
    if (member_.method == kDeflated) inflateEnd(&stream_);
  }

  size_t read(char* to, size_t count) {
    stream_.next_out = reinterpret_cast<unsigned char*>(to);
    stream_.avail_out = static_cast<uInt>(count);
    if (member_.method == kStored) {
      count = std::min<size_t>(count, stream_.avail_in);
      std::memcpy(to, stream_.next_in, count);
      stream_.next_in += count;
      stream_.avail_in -= static_cast<uInt>(count);
    } else {
      while (!over_ && stream_.avail_out > 0) {
        const int status = inflate(&stream_, Z_NO_FLUSH);
        check(status == Z_OK || status == Z_STREAM_END, "{}: its deflated bytes are damaged",
              what_);
        over_ = status == Z_STREAM_END;
      }
      count -= stream_.avail_out;
    }
    crc_ = crc32(crc_, reinterpret_cast<unsigned char*>(to), static_cast<uInt>(count));
    return count;
  }
  void check_end() {
    char more = 0;
    const uLong crc = crc_;
    check(read(&more, 1) == 0 && stream_.avail_in == 0,
          "{}: holds more bytes than the zip file's directory says", what_);
    check(crc == member_.crc, "{}: its bytes are damaged, by their CRC-32", what_);
  }

 private:
  std::string_view what_;
  const Member& member_;
  z_stream stream_{};
  uLong crc_ = 0;
  bool over_ = false;
};

std::vector<Member> read_directory(const std::string& path, std::string_view file) {
  const auto broken = [&](bool good, const char* what) {
    check(good, "{}: not a file of numpy.savez, or damaged: {}", path, what);
  };
  size_t end = file.size() < kEndSize ? std::string_view::npos : file.size() - kEndSize;
  // A comment of up to 64 KiB may follow.
  while (end != std::string_view::npos && end > 0 && file.size() - end <= kEndSize + 0xFFFF &&
         (file.substr(end, kEnd.size()) != kEnd ||
          end + kEndSize + number(file, end + 20, 2) != file.size()))
    --end;
  broken(end != std::string_view::npos && file.substr(end, kEnd.size()) == kEnd &&
             end + kEndSize + number(file, end + 20, 2) == file.size(),
         "no zip directory ends it");
  const unsigned count = number(file, end + 10, 2);
  size_t at = number(file, end + 16, 4);
  const uint64_t size = number(file, end + 12, 4);
  broken(number(file, end + 4, 4) == 0 && number(file, end + 8, 2) == count,
         "it is of several parts");
  broken(count != kMostMembers && at <= kMostBytes, "it is in zip64, which is not read");
  broken(at + size == end, "its directory lies elsewhere");
  std::vector<Member> members;
  uint64_t packed = 0;
  for (unsigned i = 0; i < count; ++i) {
    broken(end - at >= kCentralSize && file.substr(at, kCentral.size()) == kCentral,
           "its directory is too short");
    const size_t name = number(file, at + 28, 2),
                 rest = size_t{number(file, at + 30, 2)} + number(file, at + 32, 2);
    broken(end - at >= kCentralSize + name + rest, "its directory is too short");
    Member one{std::string(file.substr(at + kCentralSize, name)),
               number(file, at + 10, 2),
               number(file, at + 16, 4),
               number(file, at + 20, 4),
               number(file, at + 24, 4),
               number(file, at + 42, 4)};
    broken((number(file, at + 8, 2) & kEncrypted) == 0, "it is encrypted");
    broken(one.packed <= kMostBytes && one.size <= kMostBytes && one.begin <= kMostBytes,
           "it is in zip64, which is not read");
    broken(one.method == kStored || one.method == kDeflated, "neither stored nor deflated");
    packed += one.packed;  // members that share bytes would unpack to any amount
    broken(packed <= file.size(), "members are larger than the file");
    broken(one.method == kStored ? one.size == one.packed : one.size <= kMostInflated * one.packed,
           "a member cannot have the size that its directory says");
    members.push_back(std::move(one));
    at += kCentralSize + name + rest;
  }
  broken(at == end, "its directory is too long");
  return members;
}

Tensor read_member(const std::string& path, std::string_view file, const Member& member) {
  const std::string what = path + ": " + member.name;
  const uint64_t begin = member.begin;
  check(begin + kLocalSize <= file.size() && file.substr(begin, kLocal.size()) == kLocal,
        "{}: is not where the zip file's directory says", what);
  const uint64_t name = number(file, begin + 26, 2);
  const uint64_t at = begin + kLocalSize + name + number(file, begin + 28, 2);
  check(at + member.packed <= file.size() && file.substr(begin + kLocalSize, name) == member.name,
        "{}: is not where the zip file's directory says", what);
  MemberReader reader(what, member, file.substr(at, member.packed));
  Tensor x = read_array(
      what, [&](char* to, size_t count) { return reader.read(to, count); }, member.size);
  reader.check_end();
  return x;
}

}  // namespace

void save_npy(const std::string& path, const Tensor& x) {
  const Tensor values = raw::contiguous(x);
  write_file(path, [&](std::ostream& file) { file << header_of(values) << bytes_of(values); });
}

Tensor load_npy(const std::string& path) {
  FileReader file(path);
  return read_array(
      path, [&](char* to, size_t count) { return file.read(to, count); }, file.size());
}

void save_npz(const std::string& path, const NamedTensors& tensors) {
  check(tensors.size() < kMostMembers, "{}: {} tensors are more than {}", path, tensors.size(),
        kMostMembers - 1);
  std::unordered_set<std::string_view> names;
  uint64_t end = 0;
  for (const auto& [name, x] : tensors) {
    detail::check_name_in_file(path, name);
    check(names.insert(name).second, "{}: two tensors are called {}", path, name);
    check(name.size() + kEnding.size() <= 0xFFFF, "{}: a name of {} bytes is too long", path,
          name.size());
    end += kLocalSize + 2 * (name.size() + kEnding.size()) + kCentralSize + header_of(x).size() +
           static_cast<uint64_t>(x.numel()) * size_of(x.dtype());
  }
  check(end + kEndSize <= kMostBytes,
        "{}: {} bytes are more than an npz file of 4 GiB holds; save them as .safetensors", path,
        end);
  write_file(path, [&](std::ostream& file) {
    std::string directory;
    uint64_t at = 0;
    for (const auto& [name, x] : tensors) {
      const Tensor values = raw::contiguous(x);
      const std::string header = header_of(values), member = name + std::string(kEnding);
      const std::string_view bytes = bytes_of(values);
      uLong crc = crc32(0, reinterpret_cast<const unsigned char*>(header.data()),
                        static_cast<uInt>(header.size()));
      crc = crc32(crc, reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<uInt>(bytes.size()));
      // What both headers say.
      std::string common;
      put(common, 20, 2);  // the version of zip that reads it
      put(common, kUtf8, 2);
      put(common, kStored, 2);
      put(common, 0, 2);       // midnight of
      put(common, 0x0021, 2);  // 1980-01-01
      put(common, crc, 4);
      put(common, header.size() + bytes.size(), 4);
      put(common, header.size() + bytes.size(), 4);
      put(common, member.size(), 2);
      put(common, 0, 2);  // nothing more
      directory.append(kCentral);
      put(directory, 20, 2);
      directory += common;
      directory.append(10, '\0');  // no comment, part 0, no attributes
      put(directory, at, 4);
      directory += member;
      file << kLocal << common << member << header << bytes;
      at += kLocalSize + member.size() + header.size() + bytes.size();
    }
    std::string last(kEnd);
    put(last, 0, 4);
    put(last, tensors.size(), 2);
    put(last, tensors.size(), 2);
    put(last, directory.size(), 4);
    put(last, at, 4);
    put(last, 0, 2);
    file << directory << last;
  });
}

NamedTensors load_npz(const std::string& path) {
  const std::string file = read_file(path);
  NamedTensors tensors;
  std::unordered_set<std::string> names;
  for (const Member& member : read_directory(path, file)) {
    check(member.name.ends_with(kEnding), "{}: {} is no array of numpy.save", path,
          detail::json(member.name));
    std::string name = member.name.substr(0, member.name.size() - kEnding.size());
    detail::check_name_in_file(path, name);
    check(names.insert(name).second, "{}: two tensors are called {}", path, name);
    tensors.emplace_back(std::move(name), read_member(path, file, member));
  }
  return tensors;
}

}  // namespace gradus
