#include <gradus/base/detail/fork.h>
#include <gradus/base/detail/kept_memory.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace gradus::kernels::detail {

struct SpareBlock {
  SpareBlock* next;
};

namespace {

using gradus::detail::process_mutex;

// Trivially destructible: threads end after static destructors too.
constinit thread_local WorkspaceBlock* blocks = nullptr;
constinit WorkspaceUse* uses = nullptr;  // under process_mutex, with what they hold

void add_spare(WorkspaceUse& use) {
  void* memory = std::aligned_alloc(64, static_cast<size_t>(use.bytes));
  if (!memory) throw std::bad_alloc();
  use.spares = new (memory) SpareBlock{use.spares};
}

void free_spares(WorkspaceUse& use) {
  while (use.spares) std::free(std::exchange(use.spares, use.spares->next));
}

void* take(WorkspaceUse& use) {
  if (!use.spares) add_spare(use);
  return std::exchange(use.spares, use.spares->next);
}

/// To the spares, or, of a size that the use has left, to the system.
void give_back(WorkspaceBlock& block) {
  if (!block.memory) return;
  if (block.bytes == block.use->bytes)
    block.use->spares = new (block.memory) SpareBlock{block.use->spares};
  else
    std::free(block.memory);
  block.memory = nullptr;
  block.bytes = 0;
}

struct AtThreadEnd {
  ~AtThreadEnd() {
    const std::lock_guard lock(process_mutex);
    for (; blocks; blocks = blocks->next) give_back(*blocks);
  }
};

/// Each use begins anew: a block of this size that another thread holds is freed when it is given
/// back.
void give_all_back() noexcept {
  const std::lock_guard lock(process_mutex);
  for (WorkspaceBlock* block = blocks; block; block = block->next) {
    gradus::detail::count_kept(-block->bytes);
    give_back(*block);
  }
  for (; uses; uses = uses->next) {
    free_spares(*uses);
    uses->bytes = 0;
  }
}
const gradus::detail::Keeper keeper(give_all_back);

}  // namespace

void give_back_at_thread_end() {
  static thread_local AtThreadEnd at_thread_end;
  (void)at_thread_end;
}

void grow(WorkspaceUse& use, WorkspaceBlock& block, int64_t bytes) {
  if (!block.use) {
    give_back_at_thread_end();
    block.use = &use;
    block.next = blocks;
    blocks = &block;
  }
  const std::lock_guard lock(process_mutex);
  if (bytes > use.bytes) {
    free_spares(use);
    if (use.bytes == 0) use.next = std::exchange(uses, &use);
    use.bytes =
        std::max<int64_t>(64, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes))));
    // What this thread may not keep, others may not either.
    if (gradus::detail::may_keep(static_cast<size_t>(use.bytes)))
      for (int i = 0; i < thread_count(); ++i) add_spare(use);
  }
  void* memory = take(use);
  gradus::detail::count_kept(use.bytes - block.bytes);
  give_back(block);
  block.memory = memory;
  block.bytes = use.bytes;
}

}  // namespace gradus::kernels::detail
