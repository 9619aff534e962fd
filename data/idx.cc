#include <gradus/data/gzip.h>
#include <gradus/data/idx.h>

#include <algorithm>
#include <filesystem>

namespace gradus {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 32;

/// The header's sizes, and the bytes behind it.
struct Idx {
  std::string bytes;
  Shape shape;
  unsigned char at(int64_t i) const {
    return static_cast<unsigned char>(bytes[static_cast<size_t>(i)]);
  }
};

/// Reads no more than the header promises and one byte: a small file may unpack to a large one.
Idx parse(const std::string& path) {
  MaybeGzipped file(path);
  std::string header = file.read(4);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(header[i]); };
  check(header.size() == 4 && byte(0) == 0 && byte(1) == 0, "{}: not an IDX file", path);
  check(byte(2) == 8, "{}: holds IDX type {:#04x}, only unsigned bytes (0x08) are read", path,
        byte(2));
  const int ndim = byte(3);
  check(ndim >= 1 && ndim <= Shape::kMaxDims, "{}: an IDX file of {} dimensions", path, ndim);
  header = file.read(4 * static_cast<size_t>(ndim));
  check(header.size() == 4 * static_cast<size_t>(ndim), "{}: truncated within its header", path);
  Idx idx;
  uint64_t count = 1;
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

std::string find_file(const std::string& folder, const std::string& stem, const std::string& kind) {
  for (const char* joint : {"-", "."}) {
    for (const char* ending : {"", ".gz"}) {
      const auto path = std::filesystem::path(folder) / (stem + joint + kind + ending);
      if (std::error_code ignored; std::filesystem::exists(path, ignored)) return path.string();
    }
  }
  throw Error(fmt::format("{}: has no {}-{}, gzipped or not", folder, stem, kind));
}

Dataset load(const std::string& folder, const std::string& part) {
  const std::string image_path = find_file(folder, part + "-images", "idx3-ubyte");
  const std::string label_path = find_file(folder, part + "-labels", "idx1-ubyte");
  const Idx images = parse(image_path), labels = parse(label_path);
  check(images.shape.ndim() == 3, "{}: images must have 3 dimensions, these have {}", image_path,
        images.shape);
  check(labels.shape.ndim() == 1 && labels.shape[0] == images.shape[0],
        "{}: {} labels for the {} images of {}", label_path, labels.shape, images.shape[0],
        image_path);
  check(images.shape.numel() > 0, "{}: holds no images", image_path);
  const int64_t n = images.shape[0];
  Dataset data{std::filesystem::path(folder).filename().string(),
               empty({n, 1, images.shape[1], images.shape[2]}), empty({n}, DType::i64), 0};
  float* pixel = data.x.mutable_data<float>();
  for (int64_t i = 0; i < data.x.numel(); ++i) pixel[i] = static_cast<float>(images.at(i)) / 255;
  int64_t* label = data.y.mutable_data<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    label[i] = labels.at(i);
    data.classes = std::max(data.classes, label[i] + 1);
  }
  return data;
}

}  // namespace

Tensor read_idx(const std::string& path) {
  const Idx idx = parse(path);
  const ErrorContext context(path);
  Tensor x = empty(idx.shape, DType::i64);
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<int64_t>()[i] = idx.at(i);
  return x;
}

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
