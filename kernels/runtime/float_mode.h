#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

namespace gradus::kernels {

/// How a thread rounds, whether it takes denormal numbers for zero, and which exceptions trap: what
/// its processor's control register holds, without the flags of what has happened so far. Elsewhere
/// than on x86-64 and aarch64, how it rounds.
using FloatMode = uint64_t;

#if defined(__x86_64__)
constexpr unsigned kFloatFlags = 0x3F;  // of MXCSR
inline FloatMode float_mode() { return _mm_getcsr() & ~kFloatFlags; }
inline void set_float_mode(FloatMode mode) {
  _mm_setcsr((_mm_getcsr() & kFloatFlags) | static_cast<unsigned>(mode));
}
#elif defined(__aarch64__)
inline FloatMode float_mode() {
  uint64_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  return fpcr;
}
inline void set_float_mode(FloatMode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
inline FloatMode float_mode() { return static_cast<FloatMode>(std::fegetround()); }
inline void set_float_mode(FloatMode mode) { std::fesetround(static_cast<int>(mode)); }
#endif

}  // namespace gradus::kernels
