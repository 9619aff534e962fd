#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus::kernels {

// More than the caches keep until a result is read.
constexpr size_t kStreamedBytes = size_t{4} << 20;

/// Whether a result of n elements may be streamed past the caches, where it would not stay: a store
/// need not read the line first then, and does not drive out what is read.
template <class T>
bool streamed(int64_t n) {
  return static_cast<size_t>(n) * sizeof(T) >= kStreamedBytes;
}

}  // namespace gradus::kernels
