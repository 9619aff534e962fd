#pragma once
#include <cstdint>

namespace gradus::kernels {

/// One step of each kind of recurrent cell for one instruction-set level, on the calling thread.
/// What `gates` holds is said with kept_gates_of; everything has rows of `hidden` values, `gates`
/// and `dgates` as many times that as the cell keeps gates.
template <class T>
struct RnnKernels {
  /// gates: in, the sums of products; out, the activated gates. bias: one row for all.
  using Step = void (*)(int64_t rows, int64_t hidden, const T* bias, const T* h, const T* c,
                        T* gates, T* next_h, T* next_c);
  /// dh and dc: in, the gradients of next_h and next_c; out, those of c, and of h as far as it did
  /// not go through a product. dgates: of the sums of products.
  using StepBackward = void (*)(int64_t rows, int64_t hidden, const T* h, const T* c,
                                const T* gates, const T* next_h, const T* next_c, T* dh, T* dc,
                                T* dgates);
  Step step[4];  ///< by CellKind
  StepBackward step_backward[4];
};

}  // namespace gradus::kernels
