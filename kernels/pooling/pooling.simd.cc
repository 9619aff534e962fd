// Max pooling, a vector of windows of one row at a time.

#include <gradus/kernels/pooling/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/lanes.h>

#include <limits>

namespace gradus::kernels {
namespace {

/// Elements 0, 2, 4 ... of a and b behind each other, or 1, 3, 5 ...
template <class V>
GRADUS_INLINE inline V every_second(V a, V b, int odd) {
  constexpr int n = sizeof(V) / sizeof(a[0]);
  if constexpr (n == 2)
    return odd ? __builtin_shufflevector(a, b, 1, 3) : __builtin_shufflevector(a, b, 0, 2);
  else if constexpr (n == 4)
    return odd ? __builtin_shufflevector(a, b, 1, 3, 5, 7)
               : __builtin_shufflevector(a, b, 0, 2, 4, 6);
  else if constexpr (n == 8) {  // within the halves, then the quarters: two instructions
    const V quarters = odd ? __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15)
                           : __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14);
    return __builtin_shufflevector(quarters, quarters, 0, 1, 4, 5, 2, 3, 6, 7);
  } else
    return odd ? __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
                                         29, 31)
               : __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26,
                                         28, 30);
}

/// The first `count` elements at p.
template <class T>
GRADUS_INLINE inline Vector<T> load_up_to(const T* p, int64_t count) {
  if (count >= kWidth<T>) return load(p);
  return count > 0 ? load_first(p, static_cast<int>(count)) : Vector<T>{};
}

/// Windows j .. j + count - 1. `columns`, `count` and the stride are constants to the compiler
/// wherever that is worth it.
template <class T>
GRADUS_INLINE inline void max_vector(const MaxWindows<T>& w, int64_t stride, int64_t columns,
                                     int64_t j, int count, T* y, int64_t* indices) {
  using Lanes = LaneMask<T>;
  using Index = std::remove_reference_t<decltype(Lanes{}[0])>;
  Lanes lane = {};
  for (int i = 0; i < kWidth<T>; ++i) lane[i] = static_cast<Index>(i);
  lane = lane * static_cast<Index>(stride) + static_cast<Index>(w.first + j * stride);
  Vector<T> best = Vector<T>{} - std::numeric_limits<T>::infinity();
  Lanes at = lane;
  const auto consider = [&](Vector<T> x, int64_t place) GRADUS_INLINE {
    const Lanes larger = (x > best) | (x != x);
    best = larger ? x : best;
    at = larger ? lane + static_cast<Index>(place) : at;
  };
  for (int64_t p = 0; p < w.rows; ++p) {
    const T* x = w.x + p * w.row + j * stride;
    for (int64_t q = 0; q < columns; q += stride) {
      if (stride == 1) {
        consider(load_up_to(x + q, count), p * w.row + q);
        continue;
      }
      const bool two = q + 1 < columns;
      const int64_t there = 2 * count - !two;
      const Vector<T> a = load_up_to(x + q, there),
                      b = load_up_to(x + q + kWidth<T>, there - kWidth<T>);
      consider(every_second(a, b, 0), p * w.row + q);
      if (two) consider(every_second(a, b, 1), p * w.row + q + 1);
    }
  }
  Index places[kWidth<T>];
  __builtin_memcpy(places, &at, sizeof at);
  if (count == kWidth<T>)
    store(y + j, best);
  else
    store_first(y + j, best, count);
  for (int i = 0; i < count; ++i) indices[j + i] = places[i];
}

template <class T>
GRADUS_INLINE inline void max_row(const MaxWindows<T>& w, int64_t stride, int64_t columns, T* y,
                                  int64_t* indices) {
  constexpr int width = kWidth<T>;
  for (int64_t j = 0; j < w.windows; j += width) {
    const int64_t end = (w.rows - 1) * w.row + columns + (j + width) * stride;
    if (j + width <= w.room && end <= w.readable)
      max_vector(w, stride, columns, j, width, y, indices);
    else
      max_vector(w, stride, columns, j,
                 static_cast<int>(w.windows - j < width ? w.windows - j : width), y, indices);
  }
}

template <class T>
void max_windows(const MaxWindows<T>& w, T* y, int64_t* indices) {
  if (w.stride == 2 && w.columns == 2)
    max_row(w, 2, 2, y, indices);
  else if (w.stride == 2)
    max_row(w, 2, w.columns, y, indices);
  else
    max_row(w, 1, w.columns, y, indices);
}

template <class T>
constexpr PoolKernels<T> kKernels = {max_windows<T>};

}  // namespace

GRADUS_TABLES(PoolKernels, kKernels)

}  // namespace gradus::kernels
