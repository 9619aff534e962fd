#pragma once
#include <cmath>
#include <cstdint>

namespace gradus::kernels {

/// What a product of a (m, k) and b (k, n) lacks if it was made of b with 0 for what is not finite:
/// c_ij += a_ip b_pj where `visible(i, p)`. A product with what may not be seen must not be made,
/// since 0 times infinity is NaN. a(i, p) is alpha times the element.
template <class T, class A, class Visible>
void add_infinite_terms(int64_t m, int64_t n, int64_t k, A a, const T* b, int64_t ldb,
                        Visible visible, T* c, int64_t ldc) {
  for (int64_t p = 0; p < k; ++p)
    for (int64_t j = 0; j < n; ++j) {
      const T value = b[p * ldb + j];
      if (std::isfinite(value)) continue;
      for (int64_t i = 0; i < m; ++i)
        if (visible(i, p)) c[i * ldc + j] += a(i, p) * value;
    }
}

}  // namespace gradus::kernels
