#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/kernels/runtime/loops.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <tuple>
#include <type_traits>

namespace gradus::kernels {

namespace {

/// Array k under loops whose innermost stride is neither 0 nor 1 is copied, so that the kernels
/// only meet rows that run or stay.
template <int k, class T, int count>
const T* dense(Loops<count>& loops, const T* x) {
  const int last = loops.ndim - 1;
  if (loops.strides[k][last] == 0 || loops.strides[k][last] == 1) return x;
  int64_t sizes[kMaxLoops] = {}, n = 1;
  for (int i = 0; i <= last; ++i) n *= sizes[i] = loops.strides[k][i] == 0 ? 1 : loops.sizes[i];
  T* copy = workspace<T, struct Copy>(n);
  copy_strided(sizeof(T), loops.ndim, sizes, reinterpret_cast<const char*>(x), loops.strides[k],
               reinterpret_cast<char*>(copy));
  int64_t stride = 1;
  for (int i = last; i >= 0; --i) {
    if (sizes[i] == 1) continue;
    loops.strides[k][i] = stride;
    stride *= sizes[i];
  }
  return copy;
}

/// The last array is the result, contiguous. False if there is nothing to do.
template <int count>
bool prepare(Loops<count>& loops) {
  int64_t stride = 1;
  for (int i = loops.ndim - 1; i >= 0; --i) {
    loops.strides[count - 1][i] = stride;
    stride *= loops.sizes[i];
  }
  loops.collapse();
  if (loops.ndim == 0) loops.push(1, {});
  return stride > 0;
}

/// At least two loops, as for_each_row_block wants.
template <int count>
void pad(Loops<count>& loops) {
  loops.collapse();
  if (loops.ndim >= 2) return;
  Loops<count> padded;
  while (padded.ndim + loops.ndim < 2) padded.push(1, {});
  int64_t stride[count];
  for (int i = 0; i < loops.ndim; ++i) {
    for (int k = 0; k < count; ++k) stride[k] = loops.strides[k][i];
    padded.push(loops.sizes[i], stride);
  }
  loops = padded;
}

/// Calls kernel(rows, a, b, y) over the layout.
template <class T, class Y, class Kernel>
void broadcast_rows(const BroadcastLayout& layout, const T* a, const T* b, Y* y, Kernel kernel) {
  Loops<3> loops;
  for (int i = 0; i < layout.ndim; ++i)
    loops.push(layout.sizes[i], {layout.a_strides[i], layout.b_strides[i], 0});
  if (!prepare(loops)) return;
  a = dense<0>(loops, a);
  b = dense<1>(loops, b);
  pad(loops);
  const int last = loops.ndim - 1;
  for_each_row_block(loops, kGrain, [&](const int64_t* at, int64_t rows, int64_t columns) {
    kernel({rows, columns, loops.strides[0][last - 1], loops.strides[0][last],
            loops.strides[1][last - 1], loops.strides[1][last]},
           a + at[0], b + at[1], y + at[2]);
  });
}

/// y = op(a, b), by loops that the compiler compiles for any processor.
template <class T, class Y, class Op>
void plain_rows(const BinaryRows& r, const T* a, const T* b, Y* y, Op op) {
  for (int64_t i = 0; i < r.rows; ++i, a += r.a_row, b += r.b_row, y += r.columns) {
    if (r.a_column != 0 && r.b_column != 0)
      for (int64_t j = 0; j < r.columns; ++j) y[j] = op(a[j], b[j]);
    else if (r.a_column != 0)
      for (int64_t j = 0; j < r.columns; ++j) y[j] = op(a[j], *b);
    else
      for (int64_t j = 0; j < r.columns; ++j) y[j] = op(*a, b[j * r.b_column]);
  }
}

template <bool a_moves, bool b_moves, class T>
void choose(int64_t n, const bool* __restrict c, const T* __restrict a, const T* __restrict b,
            T* __restrict y) {
  for (int64_t j = 0; j < n; ++j) {
    const T p = a[a_moves ? j : 0], q = b[b_moves ? j : 0];  // read both: then it is no branch
    y[j] = c[j] ? p : q;
  }
}

/// One row of `where`; the column strides are 0 or 1.
template <class T>
void choose_row(int64_t n, const bool* c, int64_t c_column, const T* a, int64_t a_column,
                const T* b, int64_t b_column, T* y) {
  if (c_column == 0) {
    const T* from = *c ? a : b;
    const int64_t column = *c ? a_column : b_column;
    for (int64_t j = 0; j < n; ++j) y[j] = from[j * column];
  } else if (a_column != 0) {
    b_column != 0 ? choose<true, true>(n, c, a, b, y) : choose<true, false>(n, c, a, b, y);
  } else {
    b_column != 0 ? choose<false, true>(n, c, a, b, y) : choose<false, false>(n, c, a, b, y);
  }
}

template <class T, class Op>
void compare_with(const BroadcastLayout& layout, const T* a, const T* b, bool* y, Op op) {
  broadcast_rows(layout, a, b, y, [op](const BinaryRows& rows, const T* p, const T* q, bool* to) {
    plain_rows(rows, p, q, to, op);
  });
}

constexpr int64_t kPowerBlock = 1024;  // elements, which stay in the first cache

/// body(first, count) over blocks of at most kPowerBlock.
template <class Body>
void for_power_blocks(int64_t count, Body body) {
  parallel_for(count, kFunctionGrain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kPowerBlock) body(at, std::min(kPowerBlock, end - at));
  });
}

template <class F, class T>
void apply_in_place(int64_t count, T* y) {
  const F f;
  kernels<ElementwiseKernels<T>>().unary[functions::index_of<F>(functions::Unary{})](&f, count, y,
                                                                                     y);
}

template <class T>
using Wide = std::conditional_t<sizeof(T) == sizeof(float), double, long double>;

/// x^n by squaring and multiplying.
template <class X>
X power_of(X x, int n) {
  X y = 1;
  for (auto rest = static_cast<unsigned>(std::abs(n)); rest > 0; rest /= 2, x *= x)
    if (rest % 2 != 0) y *= x;
  return n < 0 ? 1 / y : y;
}

/// y = x^n, from the highest bit of |n| down.
template <class T>
void power_block(int64_t count, int n, const T* x, T* y) {
  const auto size = static_cast<unsigned>(std::abs(n));
  if (size == 0) return std::fill_n(y, count, T(1)), void();
  std::copy_n(x, count, y);
  for (unsigned bit = std::bit_floor(size) / 2; bit > 0; bit /= 2) {
    apply_in_place<functions::Square>(count, y);
    if (size & bit) kernels<ElementwiseKernels<T>>().multiply(count, x, y);
  }
  if (n < 0) apply_in_place<functions::Reciprocal>(count, y);
}

/// f(i) for each power, of a negative n, whose reciprocal came near the ends of T's range.
template <class T, class F>
void at_the_ends(int64_t count, const T* power, F f) {
  constexpr T least = std::numeric_limits<T>::min() * 8, most = 1 / least;
  const auto ordinary = [](T v) {
    const T size = std::abs(v);
    return bool((size >= least) & (size <= most));
  };
  int others = 0;
  for (int64_t i = 0; i < count; ++i) others += !ordinary(power[i]);
  for (int64_t i = 0; i < count && others > 0; ++i)
    if (!ordinary(power[i])) --others, f(i);
}

}  // namespace

template <class T>
void integer_power(int64_t count, int n, const T* x, T* y) {
  for_power_blocks(count, [&](int64_t at, int64_t size) {
    power_block(size, n, x + at, y + at);
    if (n >= 0) return;
    at_the_ends(size, y + at, [&](int64_t i) {
      y[at + i] = static_cast<T>(power_of(static_cast<Wide<T>>(x[at + i]), n));
    });
  });
}

template <class T>
void integer_power_backward(int64_t count, int n, const T* dy, const T* x, T* dx) {
  const ElementwiseKernels<T>& table = kernels<ElementwiseKernels<T>>();
  for_power_blocks(count, [&](int64_t at, int64_t size) {
    T* const to = dx + at;
    int64_t others[kPowerBlock], number = 0;
    power_block(size, n - 1, x + at, to);
    if (n < 1) at_the_ends(size, to, [&](int64_t i) { others[number++] = at + i; });
    table.scale(size, static_cast<T>(n), to);
    table.multiply(size, dy + at, to);
    for (int64_t k = 0; k < number; ++k) {
      const int64_t i = others[k];
      dx[i] = static_cast<T>(static_cast<Wide<T>>(dy[i]) * n *
                             power_of(static_cast<Wide<T>>(x[i]), n - 1));
    }
  });
}

template <class T>
void broadcast(const BroadcastLayout& layout, typename ElementwiseKernels<T>::Binary kernel,
               const T* a, const T* b, T* y) {
  broadcast_rows(layout, a, b, y, kernel);
}

template <class F, class T>
void integers(const BroadcastLayout& layout, const T* a, const T* b, T* y) {
  constexpr bool ordered =
      std::is_same_v<F, functions::Maximum> || std::is_same_v<F, functions::Minimum>;
  using Wide = std::conditional_t<ordered, int64_t, uint64_t>;  // the others wrap around
  broadcast_rows(layout, a, b, y, [](const BinaryRows& rows, const T* p, const T* q, T* to) {
    plain_rows(rows, p, q, to, [](T u, T v) {
      return static_cast<T>(F::value(static_cast<Wide>(u), static_cast<Wide>(v)));
    });
  });
}

template <class T>
void compare(Compare op, const BroadcastLayout& layout, const T* a, const T* b, bool* y) {
  switch (op) {
    case Compare::less:
      return compare_with(layout, a, b, y, [](T p, T q) { return p < q; });
    case Compare::less_equal:
      return compare_with(layout, a, b, y, [](T p, T q) { return p <= q; });
    case Compare::greater:
      return compare_with(layout, a, b, y, [](T p, T q) { return p > q; });
    case Compare::greater_equal:
      return compare_with(layout, a, b, y, [](T p, T q) { return p >= q; });
    case Compare::equal:
      return compare_with(layout, a, b, y, [](T p, T q) { return p == q; });
    case Compare::not_equal:
      return compare_with(layout, a, b, y, [](T p, T q) { return p != q; });
  }
}

template <class T>
void where(const WhereLayout& layout, const bool* c, const T* a, const T* b, T* y) {
  Loops<4> loops;
  for (int i = 0; i < layout.ndim; ++i)
    loops.push(layout.sizes[i], {layout.c_strides[i], layout.a_strides[i], layout.b_strides[i], 0});
  if (!prepare(loops)) return;
  c = dense<0>(loops, c);
  a = dense<1>(loops, a);
  b = dense<2>(loops, b);
  pad(loops);
  const int last = loops.ndim - 1;
  const auto& s = loops.strides;
  for_each_row_block(loops, kGrain, [&](const int64_t* at, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; ++i)
      choose_row(columns, c + at[0] + i * s[0][last - 1], s[0][last],
                 a + at[1] + i * s[1][last - 1], s[1][last], b + at[2] + i * s[2][last - 1],
                 s[2][last], y + at[3] + i * columns);
  });
}

template <class T, class... F>
constexpr auto integer_instances(functions::TypeList<F...>) {
  return std::make_tuple(integers<F, T>...);
}
[[gnu::used]] constexpr auto kOfInt64 = integer_instances<int64_t>(functions::OfIntegers{});
[[gnu::used]] constexpr auto kOfBool = integer_instances<bool>(functions::OfIntegers{});

GRADUS_INSTANTIATE(broadcast<T>, integer_power<T>, integer_power_backward<T>)
GRADUS_INSTANTIATE_ALL(compare<T>, where<T>)

}  // namespace gradus::kernels
