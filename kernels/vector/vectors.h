#pragma once
// One level's vectors, for the sources in this folder alone: everything has internal linkage, since
// each of them is compiled once per level.

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gradus::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

/// How many elements a vector holds.
template <class T>
constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
inline Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}
template <class T>
inline void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = v;
}

/// A store past the caches to p, which is aligned to a vector. Before another thread may read
/// there, order_streams().
#if defined(__AVX512F__)
inline void stream(float* p, Vector<float> v) { _mm512_stream_ps(p, __m512(v)); }
inline void stream(double* p, Vector<double> v) { _mm512_stream_pd(p, __m512d(v)); }
#elif defined(__AVX__)
inline void stream(float* p, Vector<float> v) { _mm256_stream_ps(p, __m256(v)); }
inline void stream(double* p, Vector<double> v) { _mm256_stream_pd(p, __m256d(v)); }
#elif defined(__SSE2__)
inline void stream(float* p, Vector<float> v) { _mm_stream_ps(p, __m128(v)); }
inline void stream(double* p, Vector<double> v) { _mm_stream_pd(p, __m128d(v)); }
#else
template <class T>
inline void stream(T* p, Vector<T> v) {
  store(p, v);
}
#endif
inline void order_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Whether rows that begin at p, `stride` elements apart, may be streamed to.
template <class T>
inline bool streamable(const T* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % kVectorBytes == 0 && stride % kWidth<T> == 0;
}

/// The first `count` (1 to width) elements; the others are 0, or left alone in memory.
#if defined(__AVX512F__)
inline Vector<float> load_first(const float* p, int count) {
  return Vector<float>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p));
}
inline Vector<double> load_first(const double* p, int count) {
  return Vector<double>(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p));
}
inline void store_first(float* p, Vector<float> v, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), __m512(v));
}
inline void store_first(double* p, Vector<double> v, int count) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), __m512d(v));
}
#elif defined(__AVX2__)
constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
constexpr int64_t kMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
inline __m256i mask_for(const float*, int count) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask32 + 8 - count));
}
inline __m256i mask_for(const double*, int count) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask64 + 4 - count));
}
inline Vector<float> load_first(const float* p, int count) {
  return Vector<float>(_mm256_maskload_ps(p, mask_for(p, count)));
}
inline Vector<double> load_first(const double* p, int count) {
  return Vector<double>(_mm256_maskload_pd(p, mask_for(p, count)));
}
inline void store_first(float* p, Vector<float> v, int count) {
  _mm256_maskstore_ps(p, mask_for(p, count), __m256(v));
}
inline void store_first(double* p, Vector<double> v, int count) {
  _mm256_maskstore_pd(p, mask_for(p, count), __m256d(v));
}
#else
template <class T>
inline Vector<T> load_first(const T* p, int count) {
  Vector<T> v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
template <class T>
inline void store_first(T* p, Vector<T> v, int count) {
  for (int i = 0; i < count; ++i) p[i] = v[i];
}
#endif

/// f(0), f(1), ... f(count - 1), unrolled, so that an array indexed by it lives in registers.
template <int count, int index = 0, class F>
inline __attribute__((always_inline)) void unroll(F f) {
  if constexpr (index < count) {
    f(index);
    unroll<count, index + 1>(f);
  }
}

/// to[p * ld + j] = from[j * ldb + p] for a block of kBlock<T> rows and columns.
#if defined(__AVX__)
inline void transpose_block(const float* from, int64_t ldb, float* to, int64_t ld) {
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
inline void transpose_block(const double* from, int64_t ldb, double* to, int64_t ld) {
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
template <class T>
constexpr int64_t kBlock = 32 / static_cast<int64_t>(sizeof(T));
#else
template <class T>
void transpose_block(const T* from, int64_t, T* to, int64_t) {
  *to = *from;
}
template <class T>
constexpr int64_t kBlock = 1;
#endif

/// f(first) for each block of n >= block elements; the last one may go over some a second time.
template <int64_t block, class F>
inline void for_each_block(int64_t n, F f) {
  for (int64_t i = 0; i + block <= n; i += block) f(i);
  if (n % block != 0) f(n - block);
}

/// to[p * ld + j] = from[j * ldb + p] for j in [0, columns), p in [0, k).
template <class T>
void transpose(const T* from, int64_t ldb, int64_t columns, int64_t k, T* to, int64_t ld) {
  constexpr int64_t block = kBlock<T>;
  if (columns >= block && k >= block) {
    for_each_block<block>(columns, [&](int64_t j) {
      for_each_block<block>(
          k, [&](int64_t p) { transpose_block(from + j * ldb + p, ldb, to + p * ld + j, ld); });
    });
    return;
  }
  if (k < columns) {
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < columns; ++j) to[p * ld + j] = from[j * ldb + p];
    return;
  }
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t p = 0; p < k; ++p) to[p * ld + j] = from[j * ldb + p];
}

}  // namespace
}  // namespace gradus::kernels
