#include <gradus/base/detail/fork.h>
#include <gradus/base/detail/kept_memory.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <span>
#include <utility>

namespace gradus::kernels::detail {

// Trivially destructible: threads end after static destructors too.
constinit thread_local WorkspaceTable workspace_table;

struct SpareBlock {
  SpareBlock* next;
};

namespace {

using gradus::detail::process_mutex;

constinit WorkspaceUse* uses = nullptr;  // under process_mutex, with what they hold
constinit int64_t places = 1;            // under it, too

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

std::span<WorkspaceBlock> this_threads_blocks() {
  return {workspace_table.blocks, static_cast<size_t>(workspace_table.count)};
}

/// Room for so many blocks in this thread's table; false: memory is refused.
bool reserve(int64_t count) noexcept {
  WorkspaceTable& table = workspace_table;
  if (count <= table.count) return true;
  void* larger = std::realloc(table.blocks, static_cast<size_t>(count) * sizeof(WorkspaceBlock));
  if (!larger) return false;
  table.blocks = static_cast<WorkspaceBlock*>(larger);
  std::fill(table.blocks + table.count, table.blocks + count, WorkspaceBlock{});
  table.count = count;
  return true;
}

/// The use's block of this thread, empty if it had none.
WorkspaceBlock& block_of(WorkspaceUse& use) {
  if (use.place == 0) use.place = places++;
  if (!reserve(use.place + 1)) throw std::bad_alloc();
  WorkspaceBlock& block = workspace_table.blocks[use.place];
  block.use = &use;
  return block;
}

struct AtThreadEnd {
  // For all uses there are, about: a thread that comes to one at a late step does not ask malloc.
  AtThreadEnd() { reserve(128); }
  ~AtThreadEnd() {
    const std::lock_guard lock(process_mutex);
    for (WorkspaceBlock& block : this_threads_blocks()) give_back(block);
    std::free(workspace_table.blocks);
    workspace_table = {};
  }
};

/// Each use begins anew: a block of this size that another thread holds is freed when it is given
/// back.
void give_all_back() noexcept {
  const std::lock_guard lock(process_mutex);
  for (WorkspaceBlock& block : this_threads_blocks()) {
    gradus::detail::count_kept(-block.bytes);
    give_back(block);
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

void* grow(WorkspaceUse& use, int64_t bytes) {
  if (bytes == 0) return nullptr;
  give_back_at_thread_end();
  const std::lock_guard lock(process_mutex);
  WorkspaceBlock& block = block_of(use);
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
  return memory;
}

}  // namespace gradus::kernels::detail
