#pragma once
#include <gradus/kernels/vector/avx.h>

namespace gradus::kernels {
namespace {

/// x86-64-v3
struct Level : AvxLevel<32> {
  static void stream(float* p, Vector<float> v) { _mm256_stream_ps(p, __m256(v)); }
  static void stream(double* p, Vector<double> v) { _mm256_stream_pd(p, __m256d(v)); }

  static Vector<float> load_first(const float* p, int count) {
    return Vector<float>(_mm256_maskload_ps(p, mask(p, count)));
  }
  static Vector<double> load_first(const double* p, int count) {
    return Vector<double>(_mm256_maskload_pd(p, mask(p, count)));
  }
  static void store_first(float* p, Vector<float> v, int count) {
    _mm256_maskstore_ps(p, mask(p, count), __m256(v));
  }
  static void store_first(double* p, Vector<double> v, int count) {
    _mm256_maskstore_pd(p, mask(p, count), __m256d(v));
  }

 private:
  static constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  static constexpr int64_t kMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
  static __m256i mask(const float*, int count) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask32 + 8 - count));
  }
  static __m256i mask(const double*, int count) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask64 + 4 - count));
  }
};

}  // namespace
}  // namespace gradus::kernels
