#include <gradus/kernels/norm/norm.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/kernels/runtime/types.h>
#include <gradus/kernels/runtime/workspace.h>

#include <algorithm>
#include <cmath>

namespace gradus::kernels {
namespace {

constexpr int64_t kParts = 8;  // of a sum, which take turns

/// sum of f(j), 0 <= j < n.
template <class Sum, class F>
Sum sum_of(int64_t n, F f) {
  Sum parts[kParts] = {}, sum = 0;
  int64_t j = 0;
  for (; j + kParts <= n; j += kParts)
    for (int64_t k = 0; k < kParts; ++k) parts[k] += f(j + k);
  for (; j < n; ++j) sum += f(j);
  for (Sum part : parts) sum += part;
  return sum;
}

template <class Sum, class T>
Sum mean_square(int64_t d, const T* x) {
  return sum_of<Sum>(d,
                     [&](int64_t j) {
                       const auto v = static_cast<Sum>(x[j]);
                       return v * v;
                     }) /
         static_cast<Sum>(d);
}

/// row(1 / sqrt(mean(x^2) + eps)), in double, or in long double where that leaves double's range.
template <class T, class Row>
void with_rstd(int64_t d, double eps, const T* x, Row row) {
  const double square = mean_square<double>(d, x);
  if (sizeof(T) == sizeof(double) && !(square >= 0x1p-800 && square <= 0x1p800))
    row(1 / std::sqrt(mean_square<long double>(d, x) + eps));
  else
    row(1 / std::sqrt(square + eps));
}

template <class T>
bool is_valid(const NormInput<T>& in, int64_t row) {
  return !in.valid || in.valid[row];
}

}  // namespace

template <class T>
void rms_norm(int64_t rows, int64_t d, double eps, const NormInput<T>& in, T* y) {
  parallel_for_rows(rows, d, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* x = in.x + i * d;
      T* to = y + i * d;
      if (!is_valid(in, i)) {
        std::fill(to, to + d, T(0));
        continue;
      }
      with_rstd(d, eps, x, [&](auto r) {
        using Real = decltype(r);
        for (int64_t j = 0; j < d; ++j) {
          const Real xhat = static_cast<Real>(x[j]) * r;
          to[j] = static_cast<T>(in.w ? xhat * static_cast<Real>(in.w[j]) : xhat);
        }
      });
    }
  });
}

template <class T>
void rms_norm_backward(int64_t rows, int64_t d, double eps, const NormInput<T>& in, const T* dy,
                       const NormGradients<T>& to) {
  double* rstd = workspace<double, struct RmsRstd>(rows);
  parallel_for_rows(rows, d, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *x = in.x + i * d, *from = dy + i * d;
      T* dx = to.dx ? to.dx + i * d : nullptr;
      if (!is_valid(in, i)) {
        if (dx) std::fill(dx, dx + d, T(0));
        continue;
      }
      with_rstd(d, eps, x, [&](auto r) {
        using Real = decltype(r);
        rstd[i] = static_cast<double>(r);
        if (!dx) return;
        const auto xhat = [&](int64_t j) { return static_cast<Real>(x[j]) * r; };
        const auto g = [&](int64_t j) {
          return static_cast<Real>(from[j]) * (in.w ? static_cast<Real>(in.w[j]) : 1);
        };
        const Real mean =
            sum_of<Real>(d, [&](int64_t j) { return g(j) * xhat(j); }) / static_cast<Real>(d);
        for (int64_t j = 0; j < d; ++j) dx[j] = static_cast<T>(r * (g(j) - xhat(j) * mean));
      });
    }
  });
  if (!to.dw) return;
  parallel_for_rows(d, rows, kGrain, [&](int64_t begin, int64_t end) {
    double* dw = workspace<double, struct RmsWeight>(end - begin);
    std::fill(dw, dw + (end - begin), 0.0);
    for (int64_t i = 0; i < rows; ++i)
      if (is_valid(in, i))
        for (int64_t j = begin; j < end; ++j)
          dw[j - begin] +=
              static_cast<double>(dy[i * d + j]) * (static_cast<double>(in.x[i * d + j]) * rstd[i]);
    for (int64_t j = begin; j < end; ++j) to.dw[j] = static_cast<T>(dw[j - begin]);
  });
}

GRADUS_INSTANTIATE(rms_norm<T>, rms_norm_backward<T>)

}  // namespace gradus::kernels
