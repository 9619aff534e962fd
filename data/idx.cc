#include <gradus/data/gzip.h>
#include <gradus/data/idx.h>
#include <gradus/tensor/detail/file_elements.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace gradus {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 32;

/// The types of elements, which are big-endian, and what they are called in npy.
constexpr std::pair<unsigned char, const char*> kTypes[] = {
    {0x08, "u1"}, {0x09, "i1"}, {0x0B, "i2"}, {0x0C, "i4"}, {0x0D, "f4"}, {0x0E, "f8"}};

const detail::FileElement& element_of(const std::string& path, unsigned char type) {
  const auto* const found =
      std::ranges::find(kTypes, type, &std::pair<unsigned char, const char*>::first);
  check(found != std::end(kTypes), "{}: holds IDX type {:#04x}, which there is not", path, type);
  return *detail::find_npy_element(found->second);
}

/// The header's sizes, and the bytes behind it.
struct Idx {
  std::string bytes;
  Shape shape;
  const detail::FileElement* element;
};

/// Reads no more than the header promises and one byte: a small file may unpack to a large one.
Idx parse(const std::string& path) {
  MaybeGzipped file(path);
  std::string header = file.read(4);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(header[i]); };
  check(header.size() == 4 && byte(0) == 0 && byte(1) == 0, "{}: not an IDX file", path);
  Idx idx;
  idx.element = &element_of(path, byte(2));
  const int ndim = byte(3);
  check(ndim >= 1 && ndim <= Shape::kMaxDims, "{}: an IDX file of {} dimensions", path, ndim);
  header = file.read(4 * static_cast<size_t>(ndim));
  check(header.size() == 4 * static_cast<size_t>(ndim), "{}: truncated within its header", path);
  uint64_t count = idx.element->bytes;
  for (size_t i = 0; i < header.size(); i += 4) {
    const uint64_t size = uint64_t{byte(i)} << 24 | uint64_t{byte(i + 1)} << 16 |
                          uint64_t{byte(i + 2)} << 8 | byte(i + 3);
    idx.shape.push_back(static_cast<int64_t>(size));
    check(size == 0 || count <= kMostBytes / size,
          "{}: its header promises {}, more than the {} bytes that are read", path, idx.shape,
          kMostBytes);
    count *= size;
  }
  idx.bytes = file.read(count + 1);
  check(idx.bytes.size() == count, "{}: {}{} bytes where its header {} promises {}", path,
        idx.bytes.size() > count ? "at least " : "", idx.bytes.size(), idx.shape, count);
  return idx;
}

/// The values of a file, i64, f32 or f64.
Tensor values_of(const std::string& path, const Idx& idx) {
  const ErrorContext context(path);
  Tensor x = empty(idx.shape, idx.element->dtype);
  const char* at = idx.bytes.data();
  detail::read_elements(
      path,
      [&](char* to, size_t count) {
        std::copy_n(at, count, to);
        at += count;
        return count;
      },
      *idx.element, true, x);
  return x;
}

std::string find_file(const std::string& folder, const std::string& stem, const std::string& kind) {
  for (const char* joint : {"-", "."}) {
    for (const char* ending : {"", ".gz"}) {
      const auto path = std::filesystem::path(folder) / (stem + joint + kind + ending);
      if (std::error_code ignored; std::filesystem::exists(path, ignored)) return path.string();
    }
  }
  throw Error(fmt::format("{}: has no {}-{}, gzipped or not", folder, stem, kind));
}

/// A file of bytes, those of MNIST.
Idx parse_bytes(const std::string& path) {
  Idx idx = parse(path);
  check(idx.element == &element_of(path, 0x08), "{}: holds {} elements, must be of bytes (u1)",
        path, idx.element->npy);
  return idx;
}

Dataset load(const std::string& folder, const std::string& part) {
  const std::string image_path = find_file(folder, part + "-images", "idx3-ubyte");
  const std::string label_path = find_file(folder, part + "-labels", "idx1-ubyte");
  const Idx images = parse_bytes(image_path), labels = parse_bytes(label_path);
  check(images.shape.ndim() == 3, "{}: images must have 3 dimensions, these have {}", image_path,
        images.shape);
  check(labels.shape.ndim() == 1 && labels.shape[0] == images.shape[0],
        "{}: {} labels for the {} images of {}", label_path, labels.shape, images.shape[0],
        image_path);
  check(images.shape.numel() > 0, "{}: holds no images", image_path);
  const int64_t n = images.shape[0];
  Dataset data{std::filesystem::path(folder).filename().string(),
               empty({n, 1, images.shape[1], images.shape[2]}), values_of(label_path, labels), 0};
  float* pixel = data.x.mutable_data<float>();
  for (const char byte : images.bytes)
    *pixel++ = static_cast<float>(static_cast<unsigned char>(byte)) / 255;
  for (const int64_t label : data.y.to_vector<int64_t>())
    data.classes = std::max(data.classes, label + 1);
  return data;
}

}  // namespace

Tensor read_idx(const std::string& path) { return values_of(path, parse(path)); }

Split load_idx_folder(const std::string& folder) {
  std::error_code failure;
  if (!std::filesystem::is_directory(folder, failure))
    fail("{}: is not a folder{}{}", folder, failure ? ": " : "", failure ? failure.message() : "");
  Split data{load(folder, "train"), load(folder, "t10k")};
  const int64_t classes = std::max(data.train.classes, data.test.classes);
  data.train.classes = data.test.classes = classes;
  check(data.train.x.size(2) == data.test.x.size(2) && data.train.x.size(3) == data.test.x.size(3),
        "{}: training images of {} and test images of {}", folder, data.train.x.shape(),
        data.test.x.shape());
  return data;
}

}  // namespace gradus
