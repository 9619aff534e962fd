#pragma once
#include <cstdint>

namespace gradus::kernels {

namespace detail {

/// A block that one thread holds for one use.
struct WorkspaceBlock {
  void* memory = nullptr;
  int64_t bytes = 0;
  WorkspaceBlock* next = nullptr;  // of this thread
};

/// Makes the block at least `bytes` large, 64-byte aligned. What one thread takes is set aside for
/// all the others too: which of them come to work, and when, is chance, and a training loop's later
/// steps shall not ask malloc.
void grow(WorkspaceBlock& block, int64_t bytes);

/// Has this thread give its blocks back when it ends; grow() does it too, but asks malloc.
void give_back_at_thread_end();

}  // namespace detail

/// Scratch memory that grows and is kept, 64-byte aligned: one for each thread and use
/// (`static constinit thread_local Workspace<T> name`). Growing loses what was in it.
template <class T>
class Workspace {
 public:
  T* of_size(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    if (bytes > block_.bytes) detail::grow(block_, bytes);
    return static_cast<T*>(block_.memory);
  }

 private:
  detail::WorkspaceBlock block_;
};

}  // namespace gradus::kernels
