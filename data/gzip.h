#pragma once
#include <cstddef>
#include <string>

namespace gradus {

/// The bytes that a gzip stream holds; `what` names it in errors. Not more than `limit` bytes.
std::string gunzip(const std::string& what, const unsigned char* data, size_t size,
                   size_t limit = size_t{1} << 32);

/// A whole file, unpacked if it is gzipped.
std::string read_maybe_gzipped(const std::string& path);

}  // namespace gradus
