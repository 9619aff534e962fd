#pragma once
#include <gradus/kernels/vector/avx.h>

namespace gradus::kernels {
namespace {

/// x86-64-v4
struct Level : AvxLevel<64> {
  static void stream(float* p, Vector<float> v) { _mm512_stream_ps(p, __m512(v)); }
  static void stream(double* p, Vector<double> v) { _mm512_stream_pd(p, __m512d(v)); }

  static Vector<float> load_first(const float* p, int count) {
    return Vector<float>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p));
  }
  static Vector<double> load_first(const double* p, int count) {
    return Vector<double>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p));
  }
  static void store_first(float* p, Vector<float> v, int count) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), __m512(v));
  }
  static void store_first(double* p, Vector<double> v, int count) {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), __m512d(v));
  }

  static float fold_halves(Vector<float> v, auto f) {
    const __m512d all = _mm512_castps_pd(__m512(v));
    return AvxLevel::fold_halves(f(_mm256_castpd_ps(half<0>(all)), _mm256_castpd_ps(half<1>(all))),
                                 f);
  }
  static double fold_halves(Vector<double> v, auto f) {
    return AvxLevel::fold_halves(f(half<0>(__m512d(v)), half<1>(__m512d(v))), f);
  }

  static constexpr int kProductSums = 24, kProductVectors = 4;
  static constexpr int kConvOuts = 6, kConvPixels = 4;
  static constexpr bool kThinToBlas = true;

 private:
  /// With a mask, since GCC 12 warns of its own header otherwise.
  template <int index>
  static __m256d half(__m512d v) {
    return _mm512_maskz_extractf64x4_pd(0xff, v, index);
  }
};

}  // namespace
}  // namespace gradus::kernels
