#pragma once
#include <gradus/tensor/kernels/functions.h>

#include <cstdint>
#include <cstring>
namespace gradus::kernels {
template <class F, class T>
void unary(const F& f, int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = f.value(x[i]);
}
template <class F, class T>
void unary_backward(const F& f, int64_t n, const T* dy, const T* k, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * f.derivative(k[i]);
}
template <class F, class T>
void binary(int64_t n, const T* a, int64_t sa, const T* b, int64_t sb, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = F::value(a[i * sa], b[i * sb]);
}
struct BroadcastLayout {
  int ndim;
  int64_t sizes[8], a_strides[8], b_strides[8];
};
struct WhereLayout {
  int ndim;
  int64_t sizes[8], c_strides[8], a_strides[8], b_strides[8];
};
template <class G>
void walk(int nd, const int64_t* sz, G g) {
  int64_t n = 1;
  for (int i = 0; i < nd; ++i) n *= sz[i];
  for (int64_t k = 0; k < n; ++k) {
    int64_t idx[8];
    int64_t r = k;
    for (int i = nd - 1; i >= 0; --i) {
      idx[i] = r % sz[i];
      r /= sz[i];
    }
    g(k, idx);
  }
}
inline int64_t at(int nd, const int64_t* i, const int64_t* s) {
  int64_t o = 0;
  for (int d = 0; d < nd; ++d) o += i[d] * s[d];
  return o;
}
template <class F, class T>
void binary_broadcast(const BroadcastLayout& l, const T* a, const T* b, T* y) {
  walk(l.ndim, l.sizes, [&](int64_t k, const int64_t* i) {
    y[k] = F::value(a[at(l.ndim, i, l.a_strides)], b[at(l.ndim, i, l.b_strides)]);
  });
}
template <class T>
void where(const WhereLayout& l, const bool* c, const T* a, const T* b, T* y) {
  walk(l.ndim, l.sizes, [&](int64_t k, const int64_t* i) {
    y[k] = c[at(l.ndim, i, l.c_strides)] ? a[at(l.ndim, i, l.a_strides)]
                                         : b[at(l.ndim, i, l.b_strides)];
  });
}
template <class T>
void accumulate(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}
template <class T>
void fill(int64_t n, T v, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = v;
}
inline void copy_strided(size_t e, int nd, const int64_t* sz, const char* x, const int64_t* st,
                         char* y) {
  walk(nd, sz,
       [&](int64_t k, const int64_t* i) { std::memcpy(y + k * e, x + at(nd, i, st) * e, e); });
}
inline void copy_to_strided(size_t e, int nd, const int64_t* sz, const char* x, char* y,
                            const int64_t* st) {
  walk(nd, sz,
       [&](int64_t k, const int64_t* i) { std::memcpy(y + at(nd, i, st) * e, x + k * e, e); });
}
template <class A, class B>
void cast(int64_t n, const A* x, B* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = B(x[i]);
}

enum class Compare { less, less_equal, greater, greater_equal, equal, not_equal };
template <class T>
void compare(Compare op, const BroadcastLayout& l, const T* a, const T* b, bool* y) {
  walk(l.ndim, l.sizes, [&](int64_t k, const int64_t* i) {
    const T p = a[at(l.ndim, i, l.a_strides)], q = b[at(l.ndim, i, l.b_strides)];
    y[k] = op == Compare::less            ? p < q
           : op == Compare::less_equal    ? p <= q
           : op == Compare::greater       ? p > q
           : op == Compare::greater_equal ? p >= q
           : op == Compare::equal         ? p == q
                                          : p != q;
  });
}
template <class T>
void scale(int64_t n, T alpha, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= alpha;
}
}  // namespace gradus::kernels
