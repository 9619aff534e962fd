#pragma once
// What the levels avx2 and avx512 have in common.

#include <gradus/kernels/vector/level.h>
#include <immintrin.h>

namespace gradus::kernels {
namespace {

template <int bytes>
struct AvxLevel : PlainLevel<bytes> {
  static void order_streams() { _mm_sfence(); }

  template <class T>
  static constexpr int64_t kBlock = 32 / static_cast<int64_t>(sizeof(T));
  static void transpose_block(const float* from, int64_t ldb, float* to, int64_t ld) {
    __m256 r[8];  // row j of the upper half beside row j + 4: only in-lane shuffles remain
    for (int j = 0; j < 4; ++j) {
      for (int half = 0; half < 2; ++half)
        r[2 * j + half] =
            _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + j * ldb + 4 * half)),
                                 _mm_loadu_ps(from + (j + 4) * ldb + 4 * half), 1);
    }
    for (int half = 0; half < 2; ++half) {
      const __m256 t0 = _mm256_unpacklo_ps(r[half], r[2 + half]);
      const __m256 t1 = _mm256_unpackhi_ps(r[half], r[2 + half]);
      const __m256 t2 = _mm256_unpacklo_ps(r[4 + half], r[6 + half]);
      const __m256 t3 = _mm256_unpackhi_ps(r[4 + half], r[6 + half]);
      float* row = to + 4 * half * ld;
      _mm256_storeu_ps(row, _mm256_shuffle_ps(t0, t2, 0x44));
      _mm256_storeu_ps(row + ld, _mm256_shuffle_ps(t0, t2, 0xee));
      _mm256_storeu_ps(row + 2 * ld, _mm256_shuffle_ps(t1, t3, 0x44));
      _mm256_storeu_ps(row + 3 * ld, _mm256_shuffle_ps(t1, t3, 0xee));
    }
  }
  static void transpose_block(const double* from, int64_t ldb, double* to, int64_t ld) {
    for (int half = 0; half < 2; ++half) {
      __m256d r[2];
      for (int j = 0; j < 2; ++j)
        r[j] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(from + j * ldb + 2 * half)),
                                    _mm_loadu_pd(from + (j + 2) * ldb + 2 * half), 1);
      double* row = to + 2 * half * ld;
      _mm256_storeu_pd(row, _mm256_unpacklo_pd(r[0], r[1]));
      _mm256_storeu_pd(row + ld, _mm256_unpackhi_pd(r[0], r[1]));
    }
  }

  static float fold_halves(__m256 v, auto f) {
    __m128 s = f(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = f(s, _mm_movehl_ps(s, s));
    s = f(s, _mm_shuffle_ps(s, s, 1));
    return s[0];
  }
  static double fold_halves(__m256d v, auto f) {
    const __m128d s = f(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return f(s, _mm_unpackhi_pd(s, s))[0];
  }
};

}  // namespace
}  // namespace gradus::kernels
