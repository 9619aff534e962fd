#pragma once
#include <cstdint>

namespace gradus::kernels {

namespace detail {

struct SpareBlock;

/// What all threads share of one use: blocks of one size, which grows, one for each thread. Which
/// threads come to work, and when, is chance; a training loop's later steps shall not ask malloc.
struct WorkspaceUse {
  int64_t bytes = 0;
  SpareBlock* spares = nullptr;
  WorkspaceUse* next = nullptr;  // of all uses that hold something
};

/// What one thread holds of one use.
struct WorkspaceBlock {
  WorkspaceUse* use = nullptr;
  void* memory = nullptr;
  int64_t bytes = 0;
  WorkspaceBlock* next = nullptr;  // of this thread
};

/// Makes the block at least `bytes` large, 64-byte aligned.
void grow(WorkspaceUse& use, WorkspaceBlock& block, int64_t bytes);

/// Has this thread give its blocks back when it ends; grow() does it too, but asks malloc.
void give_back_at_thread_end();

}  // namespace detail

/// Scratch memory that grows and is kept, 64-byte aligned: one block for each thread and Use
/// (`static constinit thread_local Workspace<T, struct Name> name`). Growing loses what was in it.
template <class T, class Use>
class Workspace {
 public:
  T* of_size(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    if (bytes > block_.bytes) detail::grow(use_, block_, bytes);
    return static_cast<T*>(block_.memory);
  }

 private:
  static inline constinit detail::WorkspaceUse use_;
  detail::WorkspaceBlock block_;
};

}  // namespace gradus::kernels
