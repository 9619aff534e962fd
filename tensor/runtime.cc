#include <gradus/base/detail/kept_memory.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/tensor/runtime.h>

namespace gradus {

void set_threads(int count) { kernels::set_thread_count(count); }
int threads() { return kernels::thread_count(); }

void trim() {
  kernels::on_every_thread(detail::give_back_own);
  detail::give_back_shared();
}

void set_cache_limit(size_t bytes) {
  detail::limit_kept(bytes);
  trim();
}

}  // namespace gradus
