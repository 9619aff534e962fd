#include <gradus/base/detail/fork.h>
#include <gradus/base/detail/kept_memory.h>
#include <gradus/base/memory.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

// Free blocks are kept as Bonwick & Adams keep them (Magazines and Vmem, USENIX 2001): each thread
// has lists of its own, which it needs no lock for, and what goes beyond them passes through a
// depot, a chain of blocks at a time. So what one thread releases another finds, and a thread that
// only releases keeps little.

namespace gradus {

namespace {

// Four classes per power of two, from 64 bytes to 2^43: above 256 bytes, where the steps are no
// longer 64 bytes, at most a fifth of a block is unused.
constexpr int kClasses = 4 * 36;

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

struct FreeBlock {
  FreeBlock* next;  // of its chain
  // Of a chain's first block, in the depot:
  FreeBlock* next_chain;
  uint32_t blocks;
};

// A chain is this large. A block of more than kOwnBytes takes so long to fill that a lock does not
// count: it goes to the depot at once.
constexpr size_t kChainBytes = size_t{1} << 18, kOwnBytes = size_t{1} << 20;
/// Blocks of a chain; 0: threads have no lists of this class.
constexpr auto kChain = [] {
  std::array<uint32_t, kClasses> blocks{};
  for (int i = 0; i < kClasses && class_bytes(i) <= kOwnBytes; ++i)
    blocks[static_cast<size_t>(i)] =
        static_cast<uint32_t>(std::max<size_t>(1, kChainBytes / class_bytes(i)));
  return blocks;
}();

/// What a thread has for itself, of each class: a chain that it takes from and adds to, and
/// perhaps a full one. With both a chain goes to the depot, or comes from there, once for as many
/// requests as it has blocks, in whatever order they come. Room for blocks is counted, whether they
/// are there or not, since that is done once for many of them.
struct FreeLists {
  struct List {
    FreeBlock* first;
    uint32_t room;  // for further blocks
  } of_class[kClasses];
  FreeBlock* full[kClasses];
  uint32_t blocks[kClasses];       // what a list has room for; up to a chain
  bool has_full[kClasses];         // whether there is room for a full chain, too
  size_t bytes;                    // of all this room
  std::atomic<FreeLists*>* where;  // the thread's `lists`
  FreeLists *next, *previous;      // of all threads
};
// This thread's; null before its first request, when another thread wants them given back, and
// after its end. "initial-exec" makes it one load, where code of a shared library otherwise calls a
// function; of that there is little room for libraries that are loaded late, hence a pointer.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::atomic<FreeLists*> lists = nullptr;
constinit thread_local FreeLists* own_lists = nullptr;  // the same, whoever wants them back
constinit thread_local bool ended = false;
[[gnu::tls_model("initial-exec")]] constinit thread_local size_t kept_by_keepers = 0;
constinit std::atomic<size_t> limit{size_t{1} << 30};
constinit detail::Keeper* keepers = nullptr;

// Under process_mutex.
constinit FreeLists* all_lists = nullptr;
struct Depot {
  FreeBlock* chains[kClasses];
  std::atomic<size_t> bytes;  // read without the mutex, too
};
constinit Depot depot{};
constinit size_t room_bytes = 0;  // of all threads' lists

/// Whether so many more bytes of free blocks may be kept.
bool fit(size_t bytes) {
  return depot.bytes.load(std::memory_order_relaxed) + room_bytes + bytes <=
         limit.load(std::memory_order_relaxed);
}

void count_room(FreeLists& own, size_t bytes) {
  own.bytes += bytes;
  room_bytes += bytes;
}

void free_chain(FreeBlock* first) noexcept {
  while (first) std::free(std::exchange(first, first->next));
}

/// A chain goes to the depot, or where that is full to the system.
void put_chain(FreeBlock* first, int index, uint32_t blocks) noexcept {
  const size_t bytes = blocks * class_bytes(index);
  {
    const std::lock_guard lock(detail::process_mutex);
    if (fit(bytes)) {
      first->next_chain = std::exchange(depot.chains[index], first);
      first->blocks = blocks;
      depot.bytes.fetch_add(bytes, std::memory_order_relaxed);
      return;
    }
  }
  free_chain(first);
}

/// A chain of the depot's, for which the list has room then, or where there are no lists the first
/// block of one; null if there is none.
FreeBlock* take_chain(int index, FreeLists* own) noexcept {
  if (depot.bytes.load(std::memory_order_relaxed) == 0) return nullptr;
  const std::lock_guard lock(detail::process_mutex);
  FreeBlock* const first = depot.chains[index];
  if (!first) return nullptr;
  const uint32_t taken = own ? first->blocks : 1;
  depot.chains[index] = first->next_chain;
  if (FreeBlock* const rest = first->next; rest && !own) {
    rest->next_chain = std::exchange(depot.chains[index], rest);
    rest->blocks = first->blocks - 1;
  }
  depot.bytes.fetch_sub(taken * class_bytes(index), std::memory_order_relaxed);
  if (own && own->blocks[index] < taken) {
    count_room(*own, (taken - own->blocks[index]) * class_bytes(index));
    own->blocks[index] = taken;
  }
  return first;
}

/// Makes room for as many blocks again in a full list, up to a chain; false if it may not.
bool grow(FreeLists& own, int index) noexcept {
  const uint32_t before = own.blocks[index],
                 more = std::min(std::max(before, 1U), kChain[static_cast<size_t>(index)] - before);
  if (more == 0) return false;
  const std::lock_guard lock(detail::process_mutex);
  if (!fit(more * class_bytes(index))) return false;
  count_room(own, more * class_bytes(index));
  own.blocks[index] += more;
  own.of_class[index].room += more;
  return true;
}

/// Makes room for a full chain beside the list; false if it may not.
bool make_room_for_full(FreeLists& own, int index) noexcept {
  const uint32_t chain = kChain[static_cast<size_t>(index)];
  if (own.has_full[index] || own.blocks[index] < chain) return own.has_full[index];
  const std::lock_guard lock(detail::process_mutex);
  if (!fit(chain * class_bytes(index))) return false;
  count_room(own, chain * class_bytes(index));
  return own.has_full[index] = true;
}

/// Empties lists, which have no room then; give(first, index, blocks) gets each chain.
template <class Give>
void empty(FreeLists& own, Give give) noexcept {
  {
    const std::lock_guard lock(detail::process_mutex);
    room_bytes -= std::exchange(own.bytes, 0);
  }
  for (int i = 0; i < kClasses; ++i) {
    FreeLists::List& list = own.of_class[i];
    if (FreeBlock* const full = std::exchange(own.full[i], nullptr))
      give(full, i, kChain[static_cast<size_t>(i)]);
    if (FreeBlock* const first = std::exchange(list.first, nullptr))
      give(first, i, own.blocks[i] - list.room);
    list.room = own.blocks[i] = 0;
    own.has_full[i] = false;
  }
}

void give_back_lists(FreeLists& own) noexcept {
  empty(own, [](FreeBlock* first, int, uint32_t) { free_chain(first); });
}

void enter(FreeLists& own) noexcept {
  const std::lock_guard lock(detail::process_mutex);
  own.next = all_lists;
  if (all_lists) all_lists->previous = &own;
  all_lists = &own;
}

void leave(FreeLists& own) noexcept {
  const std::lock_guard lock(detail::process_mutex);
  (own.previous ? own.previous->next : all_lists) = own.next;
  if (own.next) own.next->previous = own.previous;
}

struct AtThreadEnd {
  ~AtThreadEnd() {
    ended = true;
    lists.store(nullptr, std::memory_order_relaxed);
    leave(*own_lists);
    empty(*own_lists, put_chain);
    std::free(std::exchange(own_lists, nullptr));
  }
};

/// This thread's lists; null at its end, while its last objects release theirs. Begins them, or
/// gives back what another thread wants given back.
FreeLists* current_lists() noexcept {
  if (FreeLists* const own = lists.load(std::memory_order_relaxed)) return own;
  if (ended) return nullptr;
  if (!own_lists) {
    own_lists = static_cast<FreeLists*>(std::calloc(1, sizeof(FreeLists)));
    if (!own_lists) return nullptr;
    static thread_local AtThreadEnd at_thread_end;
    (void)at_thread_end;
    own_lists->where = &lists;
    enter(*own_lists);
  }
  give_back_lists(*own_lists);
  lists.store(own_lists, std::memory_order_relaxed);
  return own_lists;
}

// Of other threads' lists a child knows nothing.
const detail::AtFork at_fork(nullptr, [](bool in_child) {
  if (!in_child) return;
  all_lists = own_lists;
  room_bytes = own_lists ? own_lists->bytes : 0;
  if (own_lists) own_lists->next = own_lists->previous = nullptr;
});

void* from_system(size_t bytes) {
  void* block = std::aligned_alloc(64, bytes);
  if (!block) throw std::bad_alloc();
  return block;
}

void push(FreeLists::List& list, FreeBlock* block) noexcept {
  block->next = list.first;
  list.first = block;
  --list.room;
}

FreeBlock* pop(FreeLists::List& list) noexcept {
  ++list.room;
  return std::exchange(list.first, list.first->next);
}

// Apart, so that the lists' part needs no stack frame.
[[gnu::noinline]] void* allocate_beyond_list(SizeClass size) {
  const int i = size.index;
  if (i >= kClasses) throw std::bad_alloc();
  FreeLists* const own = current_lists();
  const bool listed = own && kChain[static_cast<size_t>(i)] > 0;
  if (listed && own->full[i]) {
    own->of_class[i] = {std::exchange(own->full[i], nullptr), 0};
    return pop(own->of_class[i]);
  }
  FreeBlock* const first = take_chain(i, listed ? own : nullptr);
  if (!first) return from_system(size.bytes);
  if (listed) own->of_class[i] = {first->next, own->blocks[i] - first->blocks + 1};
  return first;
}

[[gnu::noinline]] void release_beyond_list(FreeBlock* block, SizeClass size) noexcept {
  detail::give_back_beyond_limit();
  const int i = size.index;
  block->next = nullptr;
  FreeLists* const own = current_lists();
  if (!own || kChain[static_cast<size_t>(i)] == 0) return put_chain(block, i, 1);
  FreeLists::List& list = own->of_class[i];
  if (list.room == 0 && !grow(*own, i)) {
    if (own->blocks[i] == 0) return put_chain(block, i, 1);
    if (make_room_for_full(*own, i)) list.first = std::exchange(own->full[i], list.first);
    if (list.first) put_chain(std::exchange(list.first, nullptr), i, own->blocks[i]);
    list.room = own->blocks[i];
  }
  push(list, block);
}

#ifdef GRADUS_SANITIZED
constexpr bool kCaching = false;
#else
constexpr bool kCaching = true;
#endif

}  // namespace

namespace detail {

Keeper::Keeper(void (*give_back_)() noexcept)
    : give_back(give_back_), next(std::exchange(keepers, this)) {}

void count_kept(int64_t bytes) { kept_by_keepers += static_cast<size_t>(bytes); }

bool may_keep(size_t bytes) {
  return kept_by_keepers + bytes <= limit.load(std::memory_order_relaxed);
}

void limit_kept(size_t bytes) { limit = bytes; }

static void give_back_keepers() noexcept {
  for (const Keeper* keeper = keepers; keeper; keeper = keeper->next) keeper->give_back();
}

void give_back_beyond_limit() noexcept {
  if (!may_keep(0)) give_back_keepers();
}

void give_back_own() noexcept {
  if (own_lists) give_back_lists(*own_lists);
  give_back_keepers();
}

void give_back_shared() noexcept {
  FreeBlock* chains[kClasses];
  {
    const std::lock_guard lock(process_mutex);
    for (FreeLists* other = all_lists; other; other = other->next)
      if (other != own_lists) other->where->store(nullptr, std::memory_order_relaxed);
    for (int i = 0; i < kClasses; ++i) chains[i] = std::exchange(depot.chains[i], nullptr);
    depot.bytes.store(0, std::memory_order_relaxed);
  }
  for (FreeBlock* chain : chains)
    while (chain) free_chain(std::exchange(chain, chain->next_chain));
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace detail

void* allocate(size_t bytes) {
  const SizeClass size = size_class(bytes);
  if (!kCaching) {
    if (size.index >= kClasses) throw std::bad_alloc();
    return from_system((bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
  }
  FreeLists* const own = lists.load(std::memory_order_relaxed);
  if (!own || size.index >= kClasses || !own->of_class[size.index].first) [[unlikely]]
    return allocate_beyond_list(size);
  return pop(own->of_class[size.index]);
}

void release(void* memory, size_t bytes) noexcept {
  if (!kCaching) {
    std::free(memory);
    return detail::give_back_beyond_limit();
  }
  FreeBlock* const block = static_cast<FreeBlock*>(memory);
  const SizeClass size = size_class(bytes);
  FreeLists* const own = lists.load(std::memory_order_relaxed);
  if (!own || own->of_class[size.index].room == 0) [[unlikely]]
    return release_beyond_list(block, size);
  push(own->of_class[size.index], block);
}

}  // namespace gradus
