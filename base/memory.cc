#include <gradus/base/detail/kept_memory.h>
#include <gradus/base/memory.h>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>
#include <utility>

namespace gradus {

namespace {

// Four classes per power of two, from 64 bytes to 2^43: above 256 bytes, where the steps are no
// longer 64 bytes, at most a fifth of a block is unused.
constexpr int kClasses = 4 * 36;

struct FreeBlock {
  FreeBlock* next;
};

struct FreeLists {
  FreeBlock* of_class[kClasses] = {};
};
// This thread's; null before its first request and after its end. "initial-exec" makes it one load,
// where code of a shared library otherwise calls a function; of that there is little room for
// libraries that are loaded late, hence a pointer.
[[gnu::tls_model("initial-exec")]] constinit thread_local FreeLists* lists = nullptr;
constinit thread_local bool ended = false;
// In the free lists, and by keepers.
[[gnu::tls_model("initial-exec")]] constinit thread_local size_t kept = 0;
constinit std::atomic<size_t> limit{size_t{1} << 30};
constinit detail::Keeper* keepers = nullptr;

struct SizeClass {
  int index;
  size_t bytes;
};

constexpr SizeClass size_class(size_t bytes) {
  const size_t last = bytes == 0 ? 0 : bytes - 1;
  const int shift = std::bit_width(last | 511) - 3;  // of the class's step, at least 64 bytes
  const size_t steps = (last >> shift) + 1;          // 5 .. 8 of them; below 256 bytes 1 .. 4
  return {4 * (shift - 6) + static_cast<int>(steps) - 1, steps << shift};
}

constexpr size_t class_bytes(int index) {
  const int shift = index < 8 ? 6 : 5 + index / 4;
  return static_cast<size_t>(index + 1 - 4 * (shift - 6)) << shift;
}
static_assert([] {
  for (int i = 0; i < kClasses; ++i)
    if (size_class(class_bytes(i)).index != i || size_class(class_bytes(i)).bytes != class_bytes(i))
      return false;
  return true;
}());

/// Frees blocks, the largest first, until this thread keeps no more than `bytes`.
void free_beyond(size_t bytes) noexcept {
  if (!lists) return;
  for (int i = kClasses; i-- > 0;) {
    FreeBlock*& list = lists->of_class[i];
    while (list && kept > bytes) {
      std::free(std::exchange(list, list->next));
      kept -= class_bytes(i);
    }
  }
}

struct ListsOwner {
  ListsOwner() { lists = &owned; }
  ~ListsOwner() {
    free_beyond(0);
    lists = nullptr;
    ended = true;
  }
  FreeLists owned;
};

/// Null at the thread's end, while its last objects release theirs.
FreeLists* begin_thread() {
  if (!ended) {
    static thread_local ListsOwner owner;
    (void)owner;
  }
  return lists;
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

bool put(FreeLists* to, void* block, const SizeClass& size) noexcept {
  if (!to || !detail::may_keep(size.bytes)) return false;
  FreeBlock* free_block = static_cast<FreeBlock*>(block);
  free_block->next = to->of_class[size.index];
  to->of_class[size.index] = free_block;
  kept += size.bytes;
  return true;
}

/// Frees a block that this thread's lists have no room for, or begins the lists with it.
[[gnu::noinline]] void to_system(void* block, size_t bytes) noexcept {
  if (kCaching && !lists && put(begin_thread(), block, size_class(bytes))) return;
  std::free(block);
  detail::give_back_beyond_limit();
}

}  // namespace

namespace detail {

Keeper::Keeper(void (*give_back_)() noexcept)
    : give_back(give_back_), next(std::exchange(keepers, this)) {}

void count_kept(int64_t bytes) { kept += static_cast<size_t>(bytes); }

bool may_keep(size_t bytes) { return kept + bytes <= limit.load(std::memory_order_relaxed); }

void limit_kept(size_t bytes) { limit = bytes; }

void give_back_beyond_limit() noexcept {
  free_beyond(limit.load(std::memory_order_relaxed));
  if (may_keep(0)) return;
  for (const Keeper* keeper = keepers; keeper; keeper = keeper->next) keeper->give_back();
}

void give_back_all() noexcept {
  free_beyond(0);
  for (const Keeper* keeper = keepers; keeper; keeper = keeper->next) keeper->give_back();
}

}  // namespace detail

void* allocate(size_t bytes) {
  const SizeClass size = size_class(bytes);
  if (size.index >= kClasses) throw std::bad_alloc();
  if (!kCaching) return from_system((bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
  FreeBlock** const list = lists ? &lists->of_class[size.index] : nullptr;
  if (!list || !*list) return from_system(size.bytes);
  kept -= size.bytes;
  return std::exchange(*list, (*list)->next);
}

void release(void* block, size_t bytes) noexcept {
  if (!kCaching || !put(lists, block, size_class(bytes))) to_system(block, bytes);
}

}  // namespace gradus
