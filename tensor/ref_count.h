#pragma once
#include <atomic>
#include <cstdint>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace gradus::detail {

/// Whether the process has one thread, so that nothing can interfere: the C library tells, where it
/// can, as it tells std::shared_ptr.
inline bool single_threaded() {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded;
#else
  return false;
#endif
}

/// How many handles share an object; the one that makes it counts. An atomic addition takes as long
/// as twenty others, and an op on a few elements consists of little else: it is done without where
/// it can be.
class RefCount {
 public:
  void add() {
    if (single_threaded())
      count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    else
      count_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Takes one away; whether it was the last.
  bool drop() {
    if (is_one()) return true;  // nobody is left who could add
    if (!single_threaded()) return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    count_.store(count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    return false;
  }
  bool is_one() const { return count_.load(std::memory_order_acquire) == 1; }

 private:
  std::atomic<int64_t> count_{1};
};

}  // namespace gradus::detail
