#include <gradus/kernels/index/index.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/types.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace gradus::kernels {
namespace {

constexpr int64_t kIndexGrain = kGrain / 2;
constexpr int64_t kFewestColumns = 16;  // to which a thread adds

/// Calls f(place in (outer, n, inner), place in index) for outer index `o`.
template <class F>
void for_each_index(const IndexedAxis& s, int64_t o, const int64_t* index, F f) {
  const auto visit = [&](auto inner) {
    for (int64_t k = 0, at = o * s.m * inner; k < s.m; ++k)
      for (int64_t j = 0; j < inner; ++j, ++at) f((o * s.n + index[at]) * inner + j, at);
  };
  s.inner == 1 ? visit(std::integral_constant<int64_t, 1>{}) : visit(s.inner);
}

/// f(o) for each outer index, spread over the threads by its size.
template <class F>
void for_each_outer(const IndexedAxis& s, int64_t size, F f) {
  if (size * s.inner == 0) return;
  parallel_for_rows(s.outer, size * s.inner, kIndexGrain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) f(o);
  });
}

/// y += x, of integers modulo 2^64.
template <class T>
void add_to(T& y, T x) {
  if constexpr (std::is_integral_v<T>)
    y = static_cast<T>(static_cast<uint64_t>(y) + static_cast<uint64_t>(x));
  else
    y += x;
}

}  // namespace

int64_t first_outside(int64_t count, const int64_t* index, int64_t size) {
  return std::find_if(index, index + count, [&](int64_t i) { return i < 0 || i >= size; }) - index;
}

template <class T>
void gather(const IndexedAxis& s, const int64_t* index, const T* x, T* y) {
  for_each_outer(s, s.m, [&](int64_t o) {
    for_each_index(s, o, index, [&](int64_t in_x, int64_t at) { y[at] = x[in_x]; });
  });
}

template <class T>
void scatter_add(const IndexedAxis& s, const int64_t* index, const T* x, T* y) {
  for_each_outer(s, s.m, [&](int64_t o) {
    for_each_index(s, o, index, [&](int64_t in_y, int64_t at) { add_to(y[in_y], x[at]); });
  });
}

template <class T>
void scatter(const IndexedAxis& s, const int64_t* index, const T* x, T* y) {
  for_each_outer(s, s.n + s.m, [&](int64_t o) {
    std::fill_n(y + o * s.n * s.inner, s.n * s.inner, T(0));
    for_each_index(s, o, index, [&](int64_t in_y, int64_t at) { add_to(y[in_y], x[at]); });
  });
}

template <class T>
void index_select(const IndexedAxis& s, const int64_t* index, const T* x, T* y) {
  if (s.inner == 0) return;
  const size_t bytes = static_cast<size_t>(s.inner) * sizeof(T);
  parallel_for_rows(s.outer * s.m, s.inner, kIndexGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end;) {
      const int64_t first = row % s.m, last = std::min(s.m, first + end - row);
      const T* from = x + row / s.m * s.n * s.inner;
      for (int64_t k = first; k < last; ++k, ++row) {
        if (s.inner == 1)
          y[row] = from[index[k]];
        else
          std::memcpy(y + row * s.inner, from + index[k] * s.inner, bytes);
      }
    }
  });
}

template <class T>
void index_add(const IndexedAxis& s, const int64_t* index, const T* x, T* y) {
  if (s.m == 0) return;
  const int64_t columns = std::max(kFewestColumns, per_grain(s.m, kIndexGrain));
  parallel_for(s.outer * s.inner, columns, [&](int64_t begin, int64_t end) {
    for (int64_t column = begin; column < end;) {
      const int64_t o = column / s.inner, first = column % s.inner,
                    last = std::min(s.inner, first + end - column);
      const T* from = x + o * s.m * s.inner;
      T* to = y + o * s.n * s.inner;
      for (int64_t k = 0; k < s.m; ++k)
        for (int64_t j = first; j < last; ++j)
          add_to(to[index[k] * s.inner + j], from[k * s.inner + j]);
      column += last - first;
    }
  });
}

template <class T>
void one_hot(int64_t count, int64_t classes, const int64_t* index, T* y) {
  std::fill_n(y, count * classes, T(0));
  for (int64_t i = 0; i < count; ++i) y[i * classes + index[i]] = T(1);
}

GRADUS_INSTANTIATE(scatter_add<T>, scatter<T>, index_add<T>)
GRADUS_KEEP_ADDRESSES(int64_t, integer_instances, scatter_add<T>, index_add<T>)
GRADUS_INSTANTIATE_ALL(gather<T>, index_select<T>, one_hot<T>)

}  // namespace gradus::kernels
