#pragma once
#include <cstddef>
#include <cstdint>
#include <new>

namespace gradus {

/// 64-byte aligned memory from free lists of size classes, so that a loop that repeats its shapes
/// stops asking malloc after the first round. A block may be released on any thread. Sanitizer
/// builds go straight to malloc. Throws std::bad_alloc.
void* allocate(size_t bytes);
/// `bytes` as given to allocate.
void release(void* block, size_t bytes) noexcept;

/// For standard containers on the way of an op.
template <class T>
struct FreeListAllocator {
  using value_type = T;  ///< as the standard's Allocator wants it
  FreeListAllocator() = default;
  /// All are alike: what one allocates any other may release.
  template <class U>
  FreeListAllocator(const FreeListAllocator<U>&) {}
  /// Room for n elements, from the free lists; back to them.
  T* allocate(size_t n) {
    if (n > SIZE_MAX / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(gradus::allocate(n * sizeof(T)));
  }
  void deallocate(T* p, size_t n) noexcept { release(p, n * sizeof(T)); }
  /// True.
  bool operator==(const FreeListAllocator&) const { return true; }
};

}  // namespace gradus
