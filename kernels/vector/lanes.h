#pragma once
// A formula written once for whole vectors, for the last part of one, and for masked ones.

#include <gradus/kernels/vector/vectors.h>

#include <cstddef>

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
template <class T, bool partial>
struct SomeLanes {
  LaneMask<T> mask;
  int count;

  Vector<T> load(const T* p) const {
    if constexpr (partial) return load_first(p, count);
    return kernels::load(p);
  }
  void store(T* p, Vector<T> v) const {
    if constexpr (partial)
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

/// How many partial sums take turns, to hide the latency of an addition.
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

/// How often for_each_vector comes to one part, at most.
template <class T>
constexpr int64_t visits_of_a_part(int64_t n) {
  constexpr int64_t turn = kParts * kWidth<T>;
  const int64_t rest = n % turn / kWidth<T>;
  return n / turn + (rest > 1 ? rest : 1);
}

template <class V>
inline auto horizontal_sum(V v) {
  return Level::fold_halves(v, [](auto a, auto b) GRADUS_INLINE { return a + b; });
}
template <class V>
inline auto horizontal_max(V v) {
  return Level::fold_halves(v, [](auto a, auto b) GRADUS_INLINE { return a > b ? a : b; });
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
