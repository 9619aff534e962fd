#pragma once
#include <cstddef>
#include <cstdint>

namespace gradus {

/// 64-byte aligned memory from per-thread free lists of size classes, so that a loop that repeats
/// its shapes stops asking malloc after the first round. A block may be released on any thread.
/// Sanitizer builds go straight to malloc.
void* allocate(size_t bytes);
/// `bytes` as given to allocate.
void release(void* block, size_t bytes) noexcept;

namespace detail {

/// Something beside the free lists that threads keep for later. `give_back` returns to the system
/// what the calling thread keeps and what no thread holds. Lives as long as the program.
struct Keeper {
  explicit Keeper(void (*give_back_)() noexcept);
  void (*give_back)() noexcept;
  Keeper* next;
};

/// Counts what a keeper keeps for this thread, in bytes more.
void count_kept(int64_t bytes);
/// Whether this thread may keep so many bytes more.
bool may_keep(size_t bytes);

/// How many bytes each thread may keep, free blocks and keepers together; 1 GiB unless set.
void limit_kept(size_t bytes);
/// Free blocks, the largest first, and if that is not enough what keepers keep, go back to the
/// system until this thread keeps no more than it may.
void give_back_beyond_limit() noexcept;
/// All that this thread keeps goes back.
void give_back_all() noexcept;

}  // namespace detail

/// For standard containers on the way of an op.
template <class T>
struct FreeListAllocator {
  using value_type = T;  ///< as the standard's Allocator wants it
  FreeListAllocator() = default;
  /// All are alike: what one allocates any other may release.
  template <class U>
  FreeListAllocator(const FreeListAllocator<U>&) {}
  /// Room for n elements, from the free lists; back to them.
  T* allocate(size_t n) { return static_cast<T*>(gradus::allocate(n * sizeof(T))); }
  void deallocate(T* p, size_t n) noexcept { release(p, n * sizeof(T)); }
  /// True.
  bool operator==(const FreeListAllocator&) const { return true; }
};

}  // namespace gradus
