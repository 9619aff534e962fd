#pragma once
#include <cstdint>
namespace gradus::kernels {
template <class T>
void sum(int64_t o, int64_t n, int64_t in, const T* x, T* y) {
  for (int64_t a = 0; a < o; ++a)
    for (int64_t j = 0; j < in; ++j) {
      T s = 0;
      for (int64_t i = 0; i < n; ++i) s += x[(a * n + i) * in + j];
      y[a * in + j] = s;
    }
}
template <class T>
void max(int64_t o, int64_t n, int64_t in, const T* x, T* y, int64_t* k) {
  for (int64_t a = 0; a < o; ++a)
    for (int64_t j = 0; j < in; ++j) {
      int64_t b = 0;
      for (int64_t i = 0; i < n; ++i)
        if (x[(a * n + i) * in + j] > x[(a * n + b) * in + j]) b = i;
      y[a * in + j] = x[(a * n + b) * in + j];
      if (k) k[a * in + j] = b;
    }
}
template <class T>
void min(int64_t o, int64_t n, int64_t in, const T* x, T* y, int64_t* k) {
  for (int64_t a = 0; a < o; ++a)
    for (int64_t j = 0; j < in; ++j) {
      int64_t b = 0;
      for (int64_t i = 0; i < n; ++i)
        if (x[(a * n + i) * in + j] < x[(a * n + b) * in + j]) b = i;
      y[a * in + j] = x[(a * n + b) * in + j];
      if (k) k[a * in + j] = b;
    }
}
}  // namespace gradus::kernels
