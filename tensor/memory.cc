#include <gradus/tensor/memory.h>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>

namespace gradus {

namespace {

// Four classes per power of two, from 64 bytes to 2^40: at most a quarter of a block is unused.
constexpr int kClasses = 4 * 36;

struct FreeBlock {
  FreeBlock* next;
};

enum class State : uint8_t { fresh, alive, dead };

// Trivially destructible, so that blocks released after the thread's destructors ran still find it.
struct Cache {
  FreeBlock* lists[kClasses];
  size_t bytes;
  int64_t system_requests;
  State state;
};
constinit thread_local Cache cache{};
std::atomic<size_t> cache_limit{size_t{1} << 30};

struct SizeClass {
  int index;
  size_t bytes;
};

SizeClass size_class(size_t bytes) {
  if (bytes <= 256) {
    const size_t units = bytes == 0 ? 1 : (bytes + 63) / 64;
    return {static_cast<int>(units) - 1, units * 64};
  }
  const int log = std::bit_width(bytes - 1) - 1;  // 2^log < bytes <= 2^(log+1)
  const size_t step = (size_t{1} << log) / 4;
  const size_t quarter = (bytes - (size_t{1} << log) + step - 1) / step;  // 1 .. 4
  return {4 * (log - 7) + static_cast<int>(quarter) - 1, (size_t{1} << log) + quarter * step};
}

struct AtThreadEnd {
  ~AtThreadEnd() {
    trim();
    cache.state = State::dead;
  }
};

void register_thread() {
  static thread_local AtThreadEnd at_thread_end;
  (void)at_thread_end;
  cache.state = State::alive;
}

void* from_system(size_t bytes) {
  if (cache.state == State::fresh) register_thread();
  ++cache.system_requests;
  void* block = std::aligned_alloc(64, bytes);
  if (!block) throw std::bad_alloc();
  return block;
}

#ifdef GRADUS_SANITIZED
constexpr bool kCaching = false;
#else
constexpr bool kCaching = true;
#endif

}  // namespace

void* allocate(size_t bytes) {
  const SizeClass c = size_class(bytes);
  if (!kCaching) return from_system((bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
  if (c.index >= kClasses) throw std::bad_alloc();
  FreeBlock* block = cache.lists[c.index];
  if (!block) return from_system(c.bytes);
  cache.lists[c.index] = block->next;
  cache.bytes -= c.bytes;
  return block;
}

void release(void* block, size_t bytes) noexcept {
  const SizeClass c = size_class(bytes);
  if (!kCaching || cache.state == State::dead ||
      cache.bytes + c.bytes > cache_limit.load(std::memory_order_relaxed)) {
    std::free(block);
    return;
  }
  if (cache.state == State::fresh) register_thread();
  FreeBlock* free_block = static_cast<FreeBlock*>(block);
  free_block->next = cache.lists[c.index];
  cache.lists[c.index] = free_block;
  cache.bytes += c.bytes;
}

void trim() {
  for (FreeBlock*& list : cache.lists) {
    while (list) {
      FreeBlock* next = list->next;
      std::free(list);
      list = next;
    }
  }
  cache.bytes = 0;
}

void set_cache_limit(size_t bytes) { cache_limit = bytes; }

MemoryStats memory_stats() { return {static_cast<int64_t>(cache.bytes), cache.system_requests}; }

}  // namespace gradus
