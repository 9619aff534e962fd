#pragma once
#include <gradus/kernels/update/update.h>

namespace gradus::kernels {

/// The optimizers' steps for one instruction-set level, on the calling thread; as in update.h.
template <class T>
struct UpdateKernels {
  void (*sgd)(int64_t n, const T* g, T* p, T* buffer, const SgdStep& step);
  void (*adam)(int64_t n, const T* g, T* p, T* m, T* v, const AdamStep& step);
  void (*rmsprop)(int64_t n, const T* g, T* p, T* v, T* buffer, T* mean, const RmspropStep& step);
  double (*sum_of_squares)(int64_t n, const T* x);
};

}  // namespace gradus::kernels
