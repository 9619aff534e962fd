// Loops over elementwise functions; the compiler vectorizes them for this level.

#include <gradus/kernels/elementwise/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/vector/vectors.h>

namespace gradus::kernels {
namespace {

template <class F, class T>
void unary(const void* function, int64_t n, const T* x, T* y) {
  const F f = *static_cast<const F*>(function);
#ifndef __clang__  // which knows no such pragma, and asks at run time
#pragma GCC ivdep  // y is x or apart from it
#endif
  for (int64_t i = 0; i < n; ++i) y[i] = f.value(x[i]);
}

template <class F, class T>
void unary_backward(const void* function, int64_t n, const T* __restrict dy,
                    const T* __restrict kept, T* __restrict dx) {
  const F f = *static_cast<const F*>(function);
  for (int64_t i = 0; i < n; ++i) {
    const T g = dy[i], k = kept[i];  // read both: then a choice is no branch
    dx[i] = f.gradient(g, k);
  }
}

template <class F, class T, bool a_moves, bool b_moves>
void rows(const BinaryRows& r, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < r.rows; ++i, a += r.a_row, b += r.b_row, y += r.columns) {
    const T* __restrict p = a;
    const T* __restrict q = b;
    T* __restrict to = y;
    for (int64_t j = 0; j < r.columns; ++j)
      to[j] = F::value(p[a_moves ? j : 0], q[b_moves ? j : 0]);
  }
}

/// A short row that every row meets is repeated first, so that the loops are long.
template <class F, class T>
bool short_rows(const BinaryRows& r, const T* a, const T* b, T* y) {
  constexpr int64_t shortest = 64, longest = 4 * shortest, fewest = 8;
  if (r.columns >= shortest || r.rows < fewest || r.b_row != 0 || r.b_column != 1 ||
      r.a_column != 1 || r.a_row != r.columns)
    return false;
  T repeated[longest];
  const int64_t times = longest / r.columns;
  for (int64_t i = 0; i < times; ++i)
    for (int64_t j = 0; j < r.columns; ++j) repeated[i * r.columns + j] = b[j];
  const int64_t length = times * r.columns, full = r.rows / times, rest = r.rows % times;
  rows<F, T, true, true>({full, length, length, 1, 0, 1}, a, repeated, y);
  rows<F, T, true, true>({1, rest * r.columns, 0, 1, 0, 1}, a + full * length, repeated,
                         y + full * length);
  return true;
}

template <class F, class T>
void binary(const BinaryRows& r, const T* a, const T* b, T* y) {
  if (r.a_column != 0 && r.b_column != 0) {
    if (!short_rows<F>(r, a, b, y)) rows<F, T, true, true>(r, a, b, y);
  } else if (r.a_column != 0) {
    rows<F, T, true, false>(r, a, b, y);
  } else if (r.b_column != 0) {
    rows<F, T, false, true>(r, a, b, y);
  } else {
    rows<F, T, false, false>(r, a, b, y);
  }
}

template <class T>
void accumulate(int64_t n, const T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class T>
void multiply(int64_t n, const T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] *= x[i];
}

template <class T>
void scale(int64_t n, T alpha, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= alpha;
}

template <class T, class... F, class... G>
constexpr ElementwiseKernels<T> table(functions::TypeList<F...>, functions::TypeList<G...>) {
  return {{unary<F, T>...},  {unary_backward<F, T>...},
          {binary<G, T>...}, accumulate<T>,
          multiply<T>,       scale<T>,
          transpose<T>};
}

template <class T>
constexpr ElementwiseKernels<T> kTable = table<T>(functions::Unary{}, functions::Binary{});

}  // namespace

GRADUS_TABLES(ElementwiseKernels, kTable)

}  // namespace gradus::kernels
