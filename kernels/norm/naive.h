#pragma once
#include <gradus/kernels/norm/norm.h>

#include <cmath>
#include <cstdint>

// Definitions of this family: what the kernels are compared with.
namespace gradus::kernels::naive {

/// y of one value of xhat.
template <class X>
X scaled_and_shifted(const NormInput<X>& in, int64_t j, X xhat) {
  const X y = xhat * (in.w ? in.w[j] : X(1)) + (in.b ? in.b[j] : X(0));
  return in.relu && y < 0 ? X(0) : y;
}
/// What of dy passes the activation there.
template <class X>
X passing(const NormInput<X>& in, int64_t j, X xhat, X dy) {
  return in.relu && scaled_and_shifted(in, j, xhat) <= 0 ? X(0) : dy;
}

/// Calls f(row, whether it is valid, place of its first weight) for each row.
template <class F>
void for_each_row(const NormRows& s, const bool* valid, F f) {
  for (int64_t row = 0; row < s.samples * s.groups; ++row)
    f(row, !valid || valid[row / s.groups], row % s.groups * (s.d / s.inner));
}

/// A row's mean and variance, or 0 and its mean square.
template <class X>
struct RowStats {
  RowStats(const NormRows& s, const X* x) {
    for (int64_t j = 0; j < s.d && s.centred; ++j) mean += x[j] / X(s.d);
    for (int64_t j = 0; j < s.d; ++j) var += (x[j] - mean) * (x[j] - mean) / X(s.d);
  }
  X mean = 0, var = 0;
};

template <class X>
void row_norm(const NormRows& s, double eps, const NormInput<X>& in, X* y) {
  using std::sqrt;
  for_each_row(s, in.valid, [&](int64_t row, bool use, int64_t weight) {
    const X* x = in.x + row * s.d;
    X* to = y + row * s.d;
    for (int64_t j = 0; j < s.d; ++j) to[j] = 0;
    if (!use) return;
    const RowStats<X> stats(s, x);
    for (int64_t j = 0; j < s.d; ++j)
      to[j] = scaled_and_shifted<X>(in, weight + j / s.inner,
                                    (x[j] - stats.mean) / sqrt(stats.var + eps));
  });
}

template <class X>
void row_norm_backward(const NormRows& s, double eps, const NormInput<X>& in, const X* dy,
                       const NormGradients<X>& to) {
  using std::sqrt;
  for (int64_t j = 0; j < s.weights(); ++j) to.dw[j] = to.db[j] = 0;
  for_each_row(s, in.valid, [&](int64_t row, bool use, int64_t weight) {
    const X *x = in.x + row * s.d, *from = dy + row * s.d;
    X* dx = to.dx + row * s.d;
    for (int64_t j = 0; j < s.d; ++j) dx[j] = 0;
    if (!use) return;
    const RowStats<X> stats(s, x);
    const X r = 1 / sqrt(stats.var + eps);
    const auto at = [&](int64_t j) { return weight + j / s.inner; };
    const auto xhat = [&](int64_t j) -> X { return (x[j] - stats.mean) * r; };
    const auto passed = [&](int64_t j) { return passing<X>(in, at(j), xhat(j), from[j]); };
    const auto g = [&](int64_t j) -> X { return in.w ? in.w[at(j)] * passed(j) : passed(j); };
    X mean_g = 0, mean_gx = 0;
    for (int64_t j = 0; j < s.d && s.centred; ++j) mean_g += g(j) / X(s.d);
    for (int64_t j = 0; j < s.d; ++j) mean_gx += g(j) * xhat(j) / X(s.d);
    for (int64_t j = 0; j < s.d; ++j) {
      dx[j] = r * (g(j) - mean_g - xhat(j) * mean_gx);
      to.dw[at(j)] += passed(j) * xhat(j);
      to.db[at(j)] += passed(j);
    }
  });
}

/// Calls f(place in x) for each valid element of a channel.
template <class F>
void for_channel(const Channels& s, int64_t c, const bool* valid, F f) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i)
      if (!valid || valid[o * s.inner + i]) f((o * s.channels + c) * s.inner + i);
}

template <class X>
int64_t batch_norm_stats(const Channels& s, const X* x, const bool* valid, X* mean, X* var) {
  int64_t count = 0;
  for_channel({s.outer, 1, s.inner}, 0, valid, [&](int64_t) { ++count; });
  for (int64_t c = 0; c < s.channels; ++c) {
    X sum = 0, squares = 0;
    for_channel(s, c, valid, [&](int64_t k) { sum += x[k]; });
    mean[c] = count ? X(sum / X(count)) : X(0);
    for_channel(s, c, valid, [&](int64_t k) { squares += (x[k] - mean[c]) * (x[k] - mean[c]); });
    var[c] = count ? X(squares / X(count)) : X(0);
  }
  return count;
}

template <class X>
void batch_norm_normalize(const Channels& s, double eps, const NormInput<X>& in, const X* mean,
                          const X* var, X* y) {
  using std::sqrt;
  for (int64_t k = 0; k < s.outer * s.channels * s.inner; ++k) y[k] = 0;
  for (int64_t c = 0; c < s.channels; ++c)
    for_channel(s, c, in.valid, [&](int64_t k) {
      y[k] = scaled_and_shifted<X>(in, c, (in.x[k] - mean[c]) / sqrt(var[c] + eps));
    });
}

/// Training's gradient, or evaluation's.
template <class X>
void batch_norm_backward(const Channels& s, double eps, bool training, const NormInput<X>& in,
                         const X* mean, const X* var, const X* dy, const NormGradients<X>& to) {
  using std::sqrt;
  for (int64_t k = 0; k < s.outer * s.channels * s.inner; ++k) to.dx[k] = 0;
  for (int64_t c = 0; c < s.channels; ++c) {
    const X r = 1 / sqrt(var[c] + eps), scale = in.w ? X(in.w[c] * r) : r;
    const auto xhat = [&](int64_t k) -> X { return (in.x[k] - mean[c]) * r; };
    const auto passed = [&](int64_t k) { return passing<X>(in, c, xhat(k), dy[k]); };
    int64_t count = 0;
    X dw = 0, db = 0;
    for_channel(s, c, in.valid, [&](int64_t k) {
      dw += passed(k) * xhat(k);
      db += passed(k);
      ++count;
    });
    for_channel(s, c, in.valid, [&](int64_t k) {
      to.dx[k] = scale * passed(k);
      if (training) to.dx[k] -= scale * (db + xhat(k) * dw) / X(count);
    });
    to.dw[c] = dw, to.db[c] = db;
  }
}

}  // namespace gradus::kernels::naive
