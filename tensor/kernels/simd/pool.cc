// Max pooling, a vector of windows of one row at a time.

#include <gradus/tensor/kernels/isa.h>
#include <gradus/tensor/kernels/pool_table.h>
#include <gradus/tensor/kernels/simd/lanes.h>

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
  else if constexpr (n == 8)
    return odd ? __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
               : __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  else
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

/// Windows j .. j + count - 1.
template <class T, int stride>
void max_vector(const MaxWindows<T>& w, int64_t j, int count, T* y, int64_t* indices) {
  using Lanes = LaneMask<T>;
  using Index = std::remove_reference_t<decltype(Lanes{}[0])>;
  Lanes lane = {};
  for (int i = 0; i < kWidth<T>; ++i) lane[i] = static_cast<Index>(i * stride);
  Vector<T> best = Vector<T>{} - std::numeric_limits<T>::infinity();
  Lanes at = lane + static_cast<Index>(w.first + j * stride);
  const auto consider = [&](Vector<T> x, int64_t place) GRADUS_INLINE {
    const Lanes larger = (x > best) | (x != x);
    best = larger ? x : best;
    at = larger ? lane + static_cast<Index>(w.first + place) : at;
  };
  for (int64_t p = 0; p < w.rows; ++p)
    for (int64_t q = 0; q < w.columns; q += stride) {
      const int64_t place = p * w.row + q + j * stride;
      const T* x = w.x + place;
      if constexpr (stride == 1) {
        consider(load_up_to(x, count), place);
      } else {
        const bool two = q + 1 < w.columns;
        const int64_t there = 2 * count - !two;
        const Vector<T> a = load_up_to(x, there), b = load_up_to(x + kWidth<T>, there - kWidth<T>);
        consider(every_second(a, b, 0), place);
        if (two) consider(every_second(a, b, 1), place + 1);
      }
    }
  if (count == kWidth<T>)
    store(y + j, best);
  else
    store_first(y + j, best, count);
  Index places[kWidth<T>];
  __builtin_memcpy(places, &at, sizeof at);
  for (int i = 0; i < count; ++i) indices[j + i] = places[i];
}

template <class T, int stride>
void max_row(const MaxWindows<T>& w, T* y, int64_t* indices) {
  int64_t j = 0;
  for (; j + kWidth<T> <= w.windows; j += kWidth<T>)
    max_vector<T, stride>(w, j, kWidth<T>, y, indices);
  if (j < w.windows) max_vector<T, stride>(w, j, static_cast<int>(w.windows - j), y, indices);
}

template <class T>
void max_windows(const MaxWindows<T>& w, T* y, int64_t* indices) {
  if (w.stride == 1)
    max_row<T, 1>(w, y, indices);
  else
    max_row<T, 2>(w, y, indices);
}

template <class T>
constexpr PoolKernels<T> kKernels = {max_windows<T>};

}  // namespace

template <>
const PoolKernels<float>& table_for<PoolKernels<float>, Isa::GRADUS_ISA>() {
  return kKernels<float>;
}
template <>
const PoolKernels<double>& table_for<PoolKernels<double>, Isa::GRADUS_ISA>() {
  return kKernels<double>;
}

}  // namespace gradus::kernels
