#pragma once
// A formula written once for whole vectors, for the last part of one, and for masked ones.

#include <gradus/kernels/vector/vectors.h>

#include <cstddef>
#include <type_traits>

// On a lambda: what it captures then lives in registers.
#define GRADUS_INLINE __attribute__((always_inline))

namespace gradus::kernels {
namespace {

template <class T>
struct LanesOf {
  typedef decltype(Vector<T>{} < Vector<T>{}) Mask;  // of each lane all bits or none
  typedef signed char Bytes __attribute__((vector_size(kWidth<T>), aligned(1), may_alias));
};
template <class T>
using LaneMask = typename LanesOf<T>::Mask;

template <class T>
inline LaneMask<T> first_lanes(int count) {
  LaneMask<T> index = {};
  for (int i = 0; i < kWidth<T>; ++i) index[i] = i;
  return index < count;
}

template <class T>
inline LaneMask<T> valid_lanes(const bool* valid) {
  using Bytes = typename LanesOf<T>::Bytes;
  return __builtin_convertvector(*reinterpret_cast<const Bytes*>(valid), LaneMask<T>) != 0;
}

/// Every lane of a vector.
template <class T>
struct AllLanes {
  Vector<T> load(const T* p) const { return kernels::load(p); }
  void store(T* p, Vector<T> v) const { kernels::store(p, v); }
  void stream(T* p, Vector<T> v) const { kernels::stream(p, v); }
  /// v where a lane counts, else 0.
  Vector<T> keep(Vector<T> v) const { return v; }
  /// v where a lane counts, else `other`.
  Vector<T> keep_or(Vector<T> v, Vector<T>) const { return v; }
};

/// The first `count`, of which those that `mask` names count.
template <class T, bool part>
struct SomeLanes {
  LaneMask<T> mask;
  int count;

  Vector<T> load(const T* p) const {
    if constexpr (part) return load_first(p, count);
    return kernels::load(p);
  }
  void store(T* p, Vector<T> v) const {
    if constexpr (part)
      store_first(p, v, count);
    else
      kernels::store(p, v);
  }
  void stream(T* p, Vector<T> v) const { store(p, v); }
  Vector<T> keep(Vector<T> v) const { return mask ? v : Vector<T>{}; }
  Vector<T> keep_or(Vector<T> v, Vector<T> other) const { return mask ? v : other; }
};

template <class T, bool streamed, class Lanes>
inline void put(const Lanes& lanes, T* p, Vector<T> v) {
  if constexpr (streamed)
    lanes.stream(p, v);
  else
    lanes.store(p, v);
}

/// How many sums run beside each other, to hide the latency of an addition.
constexpr int kParts = 4;

/// f(first element, part, lanes) for each vector of n elements, parts 0 to kParts - 1 taking turns.
template <class T, bool masked, class F>
GRADUS_INLINE inline void for_each_vector(int64_t n, const bool* valid, F f) {
  constexpr int width = kWidth<T>;
  const auto at = [&](int64_t j, int part) GRADUS_INLINE {
    if constexpr (masked)
      f(j, part, SomeLanes<T, false>{valid_lanes<T>(valid + j), width});
    else
      f(j, part, AllLanes<T>{});
  };
  int64_t j = 0;
  for (; j + kParts * width <= n; j += kParts * width)
    unroll<kParts>([&](int part) GRADUS_INLINE { at(j + part * width, part); });
  for (; j + width <= n; j += width) at(j, 0);
  if (j == n) return;
  const int count = static_cast<int>(n - j);
  LaneMask<T> mask = first_lanes<T>(count);
  if constexpr (masked) {
    bool rest[width] = {};
    for (int i = 0; i < count; ++i) rest[i] = valid[j + i];
    mask = valid_lanes<T>(rest);
  }
  f(j, 1, SomeLanes<T, true>{mask, count});
}

#if defined(__AVX512F__)
/// With a mask, since GCC 12 warns of its own header otherwise.
template <int index>
inline __m256d half_of(__m512d v) {
  return _mm512_maskz_extractf64x4_pd(0xff, v, index);
}
inline __m256 fold_once(Vector<float> v, auto f) {
  const __m512d all = _mm512_castps_pd(__m512(v));
  return f(_mm256_castpd_ps(half_of<0>(all)), _mm256_castpd_ps(half_of<1>(all)));
}
inline __m256d fold_once(Vector<double> v, auto f) {
  return f(half_of<0>(__m512d(v)), half_of<1>(__m512d(v)));
}
#elif defined(__AVX__)
inline __m256 fold_once(Vector<float> v, auto) { return __m256(v); }
inline __m256d fold_once(Vector<double> v, auto) { return __m256d(v); }
#endif

/// f of a vector's halves, of the halves of that, and so on to one element.
#if defined(__AVX__)
inline float fold_halves(Vector<float> v, auto f) {
  const __m256 u = fold_once(v, f);
  __m128 s = f(_mm256_castps256_ps128(u), _mm256_extractf128_ps(u, 1));
  s = f(s, _mm_movehl_ps(s, s));
  s = f(s, _mm_shuffle_ps(s, s, 1));
  return s[0];
}
inline double fold_halves(Vector<double> v, auto f) {
  const __m256d u = fold_once(v, f);
  const __m128d s = f(_mm256_castpd256_pd128(u), _mm256_extractf128_pd(u, 1));
  return f(s, _mm_unpackhi_pd(s, s))[0];
}
#else
template <class V>
inline auto fold_halves(V v, auto f) {
  using T = std::remove_reference_t<decltype(v[0])>;
  T lanes[sizeof(V) / sizeof(T)];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (std::size_t half = sizeof(V) / sizeof(T) / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] = f(lanes[i], lanes[i + half]);
  return lanes[0];
}
#endif

template <class V>
inline auto horizontal_sum(V v) {
  return fold_halves(v, [](auto a, auto b) GRADUS_INLINE { return a + b; });
}
template <class V>
inline auto horizontal_max(V v) {
  return fold_halves(v, [](auto a, auto b) GRADUS_INLINE { return a > b ? a : b; });
}

/// A sum in kParts vectors.
template <class T>
struct Sums {
  Vector<T> parts[kParts] = {};

  double total() const {
    return static_cast<double>(horizontal_sum((parts[0] + parts[1]) + (parts[2] + parts[3])));
  }
};

/// y += x.
template <class T>
void add_to(int64_t n, const T* __restrict x, double* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += static_cast<double>(x[i]);
}

}  // namespace
}  // namespace gradus::kernels
