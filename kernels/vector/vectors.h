#pragma once
// The level's vectors, for *.simd.cc alone: everything has internal linkage, since each of them is
// compiled once per level.

#include GRADUS_LEVEL_HEADER

namespace gradus::kernels {
namespace {

constexpr int kVectorBytes = Level::kVectorBytes;
template <class T>
using Vector = Level::Vector<T>;
/// How many elements a vector holds.
template <class T>
constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
inline Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename Level::VectorOf<T>::unaligned*>(p);
}
template <class T>
inline void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename Level::VectorOf<T>::unaligned*>(p) = v;
}

// What they do is told where they are defined, in level.h.
template <class T>
inline void stream(T* p, Vector<T> v) {
  Level::stream(p, v);
}
inline void order_streams() { Level::order_streams(); }
template <class T>
inline Vector<T> load_first(const T* p, int count) {
  return Level::load_first(p, count);
}
template <class T>
inline void store_first(T* p, Vector<T> v, int count) {
  Level::store_first(p, v, count);
}

/// Whether rows that begin at p, `stride` elements apart, may be streamed to.
template <class T>
inline bool streamable(const T* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % kVectorBytes == 0 && stride % kWidth<T> == 0;
}

/// f(0), f(1), ... f(count - 1), unrolled, so that an array indexed by it lives in registers.
template <int count, int index = 0, class F>
inline __attribute__((always_inline)) void unroll(F f) {
  if constexpr (index < count) {
    f(index);
    unroll<count, index + 1>(f);
  }
}

/// f(first) for each block of n >= block elements; the last one may go over some a second time.
template <int64_t block, class F>
inline void for_each_block(int64_t n, F f) {
  for (int64_t i = 0; i + block <= n; i += block) f(i);
  if (n % block != 0) f(n - block);
}

/// to[p * ld + j] = from[j * ldb + p] for j in [0, columns), p in [0, k).
template <class T>
void transpose(const T* from, int64_t ldb, int64_t columns, int64_t k, T* to, int64_t ld) {
  constexpr int64_t block = Level::kBlock<T>;
  if (columns >= block && k >= block) {
    for_each_block<block>(columns, [&](int64_t j) {
      for_each_block<block>(k, [&](int64_t p) {
        Level::transpose_block(from + j * ldb + p, ldb, to + p * ld + j, ld);
      });
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
