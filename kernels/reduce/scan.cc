#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/types.h>

#include <algorithm>
#include <type_traits>

namespace gradus::kernels {
namespace {

constexpr int64_t kColumns = 256;  // that are added up side by side

/// `columns` neighbours from x and y on, from row to row `step` apart.
template <class T>
void scan(int64_t n, int64_t columns, int64_t step, const T* x, T* y) {
  using Total = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  if (columns == 1) {
    Total total = 0;  // in a register
    for (int64_t i = 0; i < n; ++i, x += step, y += step)
      *y = static_cast<T>(total += static_cast<Total>(*x));
    return;
  }
  Total totals[kColumns] = {};
  for (int64_t i = 0; i < n; ++i, x += step, y += step)
    for (int64_t j = 0; j < columns; ++j)
      y[j] = static_cast<T>(totals[j] += static_cast<Total>(x[j]));
}

}  // namespace

template <class T>
void cumsum(int64_t outer, int64_t n, int64_t inner, bool reverse, const T* x, T* y) {
  if (n == 0 || inner == 0) return;
  const int64_t tiles = ceil_div(inner, kColumns), width = std::min(inner, kColumns);
  parallel_for_rows(outer * tiles, n * width, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t j = k % tiles * kColumns;
      const int64_t first = k / tiles * n * inner + j + (reverse ? (n - 1) * inner : 0);
      scan(n, std::min(kColumns, inner - j), reverse ? -inner : inner, x + first, y + first);
    }
  });
}

GRADUS_INSTANTIATE(cumsum<T>)
GRADUS_KEEP_ADDRESSES(int64_t, integer_instances, cumsum<T>)

}  // namespace gradus::kernels
