#include <gradus/base/detail/fork.h>
#include <pthread.h>

#include <utility>

namespace gradus::detail {

constinit std::mutex process_mutex;

namespace {

constinit AtFork* handlers = nullptr;

void prepare() {
  for (const AtFork* handler = handlers; handler; handler = handler->next)
    if (handler->before) handler->before();
  process_mutex.lock();
}

void go_on(bool in_child) {
  for (const AtFork* handler = handlers; handler; handler = handler->next) handler->after(in_child);
  process_mutex.unlock();
}

[[maybe_unused]] const int registered = pthread_atfork(
    prepare, [] { go_on(false); }, [] { go_on(true); });

}  // namespace

AtFork::AtFork(void (*before_)(), void (*after_)(bool))
    : before(before_), after(after_), next(std::exchange(handlers, this)) {}

}  // namespace gradus::detail
