#pragma once
#include <cstdint>
#include <memory>
#include <new>

namespace gradus::kernels {

/// Scratch memory that grows and is kept, 64-byte aligned: one for each thread and use
/// (`static thread_local Workspace<T> name`). Growing loses what was in it.
template <class T>
class Workspace {
 public:
  T* of_size(int64_t count) {
    if (count > size_) {
      memory_.reset();
      size_ = 0;
      memory_.reset(static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64})));
      size_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace gradus::kernels
