#pragma once
#include <atomic>
#include <cstdint>

namespace gradus::kernels {

namespace detail {

struct SpareBlock;

/// What all threads share of one use: blocks of one size, which grows, one for each thread. Which
/// threads come to work, and when, is chance; a training loop's later steps shall not ask malloc.
struct WorkspaceUse {
  std::atomic<int64_t> place = 0;  // in each thread's table; 0: none yet
  int64_t bytes = 0;
  SpareBlock* spares = nullptr;
  WorkspaceUse* next = nullptr;  // of all uses that hold something
};

/// What one thread holds of one use.
struct WorkspaceBlock {
  WorkspaceUse* use;
  void* memory;
  int64_t bytes;
};

/// A thread's blocks, at their uses' places. A table, since a library that has more than a few
/// hundred bytes of thread_local variables cannot be loaded while a program runs.
struct WorkspaceTable {
  int64_t count = 0;
  WorkspaceBlock* blocks = nullptr;
};
[[gnu::tls_model("initial-exec")]] extern constinit thread_local WorkspaceTable workspace_table;

/// This thread's block of the use, made at least `bytes` large, 64-byte aligned.
void* grow(WorkspaceUse& use, int64_t bytes);

/// Has this thread give its blocks back when it ends; grow() does it too, but asks malloc.
void give_back_at_thread_end();

template <class T, class Use>
constinit WorkspaceUse workspace_use;

}  // namespace detail

/// Scratch memory that grows and is kept, 64-byte aligned: one block for each thread, T and Use
/// (`workspace<T, struct Name>(count)`). Growing loses what was in it.
template <class T, class Use>
T* workspace(int64_t count) {
  detail::WorkspaceUse& use = detail::workspace_use<T, Use>;
  const auto bytes = count * static_cast<int64_t>(sizeof(T));
  const detail::WorkspaceTable& table = detail::workspace_table;
  const int64_t place = use.place.load(std::memory_order_relaxed);
  if (place < table.count && bytes <= table.blocks[place].bytes)
    return static_cast<T*>(table.blocks[place].memory);
  return static_cast<T*>(detail::grow(use, bytes));
}

}  // namespace gradus::kernels
