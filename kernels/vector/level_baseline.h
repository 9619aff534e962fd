#pragma once
#include <gradus/kernels/vector/level.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gradus::kernels {
namespace {

/// Any processor; of x86-64 all that they have in common.
struct Level : PlainLevel<16> {
#if defined(__SSE2__)
  static void stream(float* p, Vector<float> v) { _mm_stream_ps(p, __m128(v)); }
  static void stream(double* p, Vector<double> v) { _mm_stream_pd(p, __m128d(v)); }
  static void order_streams() { _mm_sfence(); }
#endif
};

}  // namespace
}  // namespace gradus::kernels
