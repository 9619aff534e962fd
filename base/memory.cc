#include <gradus/base/memory.h>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>

namespace gradus {

namespace {

// Four classes per power of two, from 64 bytes to 2^43: above 256 bytes, where the steps are no
// longer 64 bytes, at most a fifth of a block is unused.
constexpr int kClasses = 4 * 36;

struct FreeBlock {
  FreeBlock* next;
};

struct Cache {
  FreeBlock* lists[kClasses] = {};
  size_t bytes = 0;
};
// This thread's; null before its first request and after its end. "initial-exec" makes it one load,
// where code of a shared library otherwise calls a function; of that there is little room for
// libraries that are loaded late, hence a pointer.
[[gnu::tls_model("initial-exec")]] constinit thread_local Cache* cache = nullptr;
constinit thread_local bool ended = false;
std::atomic<size_t> cache_limit{size_t{1} << 30};

struct SizeClass {
  int index;
  size_t bytes;
};

SizeClass size_class(size_t bytes) {
  const size_t last = bytes == 0 ? 0 : bytes - 1;
  const int shift = std::bit_width(last | 511) - 3;  // of the class's step, at least 64 bytes
  const size_t steps = (last >> shift) + 1;          // 5 .. 8 of them; below 256 bytes 1 .. 4
  return {4 * (shift - 6) + static_cast<int>(steps) - 1, steps << shift};
}

struct CacheOwner {
  CacheOwner() { cache = &owned; }
  ~CacheOwner() {
    trim();
    cache = nullptr;
    ended = true;
  }
  Cache owned;
};

/// Null at the thread's end, while its last objects release theirs.
Cache* begin_thread() {
  if (!ended) {
    static thread_local CacheOwner owner;
    (void)owner;
  }
  return cache;
}

// The system's part is not inline, so that the lists' part needs no stack frame.
[[gnu::noinline]] void* from_system(size_t bytes) {
  void* block = std::aligned_alloc(64, bytes);
  if (!block) throw std::bad_alloc();
  return block;
}

#ifdef GRADUS_SANITIZED
constexpr bool kCaching = false;
#else
constexpr bool kCaching = true;
#endif

bool put(Cache* c, void* block, const SizeClass& size) noexcept {
  if (!c || c->bytes + size.bytes > cache_limit.load(std::memory_order_relaxed)) return false;
  FreeBlock* free_block = static_cast<FreeBlock*>(block);
  free_block->next = c->lists[size.index];
  c->lists[size.index] = free_block;
  c->bytes += size.bytes;
  return true;
}

/// Frees a block that this thread's lists have no room for, or begins the lists with it.
[[gnu::noinline]] void to_system(void* block, size_t bytes) noexcept {
  if (kCaching && !cache && put(begin_thread(), block, size_class(bytes))) return;
  std::free(block);
}

}  // namespace

void* allocate(size_t bytes) {
  const SizeClass size = size_class(bytes);
  if (!kCaching) return from_system((bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
  if (size.index >= kClasses) throw std::bad_alloc();
  Cache* const c = cache;
  FreeBlock* const block = c ? c->lists[size.index] : nullptr;
  if (!block) return from_system(size.bytes);
  c->lists[size.index] = block->next;
  c->bytes -= size.bytes;
  return block;
}

void release(void* block, size_t bytes) noexcept {
  if (!kCaching || !put(cache, block, size_class(bytes))) to_system(block, bytes);
}

void trim() {
  if (!cache) return;
  for (FreeBlock*& list : cache->lists) {
    while (list) {
      FreeBlock* next = list->next;
      std::free(list);
      list = next;
    }
  }
  cache->bytes = 0;
}

void set_cache_limit(size_t bytes) { cache_limit = bytes; }

}  // namespace gradus
