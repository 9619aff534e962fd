#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/workspace.h>
#include <gradus/kernels/update/table.h>
#include <gradus/kernels/update/update.h>

namespace gradus::kernels {
namespace {

// Elements that a thread takes at a time; fewer where each costs a root and a division.
constexpr int64_t kGrain = 1 << 14, kAdamGrain = 1 << 13;
constexpr int64_t kPiece = 1 << 16;  // of a sum, that threads may share

template <class T>
T* from(T* p, int64_t i) {
  return p ? p + i : nullptr;
}

}  // namespace

template <class T>
void sgd(int64_t n, const T* g, T* p, T* buffer, const SgdStep& step) {
  const auto kernel = kernels<UpdateKernels<T>>().sgd;
  parallel_for(n, kGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, g + i, p + i, from(buffer, i), step);
  });
}

template <class T>
void adam(int64_t n, const T* g, T* p, T* m, T* v, const AdamStep& step) {
  const auto kernel = kernels<UpdateKernels<T>>().adam;
  parallel_for(n, kAdamGrain,
               [&](int64_t i, int64_t end) { kernel(end - i, g + i, p + i, m + i, v + i, step); });
}

template <class T>
void rmsprop(int64_t n, const T* g, T* p, T* v, T* buffer, T* mean, const RmspropStep& step) {
  const auto kernel = kernels<UpdateKernels<T>>().rmsprop;
  parallel_for(n, kGrain, [&](int64_t i, int64_t end) {
    kernel(end - i, g + i, p + i, v + i, from(buffer, i), from(mean, i), step);
  });
}

template <class T>
double sum_of_squares(int64_t n, const T* x) {
  const auto kernel = kernels<UpdateKernels<T>>().sum_of_squares;
  if (n <= kPiece) return kernel(n, x);
  static constinit thread_local Workspace<double, struct Parts> workspace;
  const int64_t pieces = pieces_of(n, kPiece);
  double* parts = workspace.of_size(pieces);
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    parts[begin / kPiece] = kernel(end - begin, x + begin);
  });
  double total = 0;
  for (int64_t k = 0; k < pieces; ++k) total += parts[k];
  return total;
}

template void sgd(int64_t, const float*, float*, float*, const SgdStep&);
template void sgd(int64_t, const double*, double*, double*, const SgdStep&);
template void adam(int64_t, const float*, float*, float*, float*, const AdamStep&);
template void adam(int64_t, const double*, double*, double*, double*, const AdamStep&);
template void rmsprop(int64_t, const float*, float*, float*, float*, float*, const RmspropStep&);
template void rmsprop(int64_t, const double*, double*, double*, double*, double*,
                      const RmspropStep&);
template double sum_of_squares(int64_t, const float*);
template double sum_of_squares(int64_t, const double*);

}  // namespace gradus::kernels
