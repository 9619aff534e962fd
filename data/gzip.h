#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace gradus {

/// The bytes that a gzip stream holds; `what` names it in errors. More than `limit` are one.
std::string gunzip(const std::string& what, const unsigned char* data, size_t size,
                   size_t limit = size_t{1} << 32);

/// A file that is read from its beginning on, and unpacked if it is gzipped.
class MaybeGzipped {
 public:
  /// An error if it cannot be opened.
  explicit MaybeGzipped(const std::string& path);
  ~MaybeGzipped();
  MaybeGzipped(const MaybeGzipped&) = delete;
  MaybeGzipped& operator=(const MaybeGzipped&) = delete;
  /// The next `count` bytes, or as many as there are; no memory is taken for more. An error if the
  /// file is damaged or ends within its gzip stream.
  std::string read(uint64_t count);

 private:
  std::string path_;
  void* file_;
};

}  // namespace gradus
