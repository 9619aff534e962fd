#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

namespace gradus {

/// Bytes that are read from their beginning on, and unpacked if they are gzipped (RFC 1952: members
/// one behind the other; zeros may follow, nothing else).
class MaybeGzipped {
 public:
  /// A file's bytes; an error if it cannot be opened.
  explicit MaybeGzipped(const std::string& path);
  /// Bytes in memory that outlive it; `what` names them in errors.
  MaybeGzipped(std::string what, const unsigned char* data, size_t size);
  ~MaybeGzipped();
  MaybeGzipped(const MaybeGzipped&) = delete;
  MaybeGzipped& operator=(const MaybeGzipped&) = delete;
  /// The next `count` bytes, or as many as there are; no memory is taken for more. An error if they
  /// are damaged or end within a gzip stream.
  std::string read(uint64_t count = (std::numeric_limits<uint64_t>::max)());

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gradus
