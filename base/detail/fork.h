#pragma once
// fork() beside work: the child has one thread, and the memory as all of them had left it.

#include <atomic>
#include <mutex>

namespace gradus::detail {

/// Held while something that all threads share is changed in more than one step. fork() waits for
/// it, so that a child finds neither such a thing half changed nor the mutex locked for good. Who
/// holds it may ask malloc, but nothing that could wait for another thread's tensors.
extern constinit std::mutex process_mutex;

/// What else happens around a fork: `before` it, and, while process_mutex is held, `after` it in
/// both processes. Lives as long as the program.
struct AtFork {
  AtFork(void (*before_)(), void (*after_)(bool in_child));
  void (*before)();
  void (*after)(bool in_child);
  AtFork* next;
};

/// Something that is made when it is first asked for, and kept. Nobody waits for who makes it, as
/// for a static's initializer, whose other threads a child would wait for: several may make it, and
/// the first is kept.
template <class T>
class Lazy {
 public:
  const T& get(T (*make)()) {
    const T* const value = value_.load(std::memory_order_acquire);
    return value ? *value : keep(make);
  }

 private:
  /// Apart, so that get() needs no stack frame.
  [[gnu::noinline]] const T& keep(T (*make)()) {
    const T* const made = new T(make());
    const T* value = nullptr;
    if (value_.compare_exchange_strong(value, made, std::memory_order_acq_rel)) return *made;
    delete made;
    return *value;
  }
  std::atomic<const T*> value_{nullptr};
};

}  // namespace gradus::detail
