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

template <class X>
void layer_norm(int64_t rows, int64_t d, double eps, const NormInput<X>& in, X* y) {
  using std::sqrt;
  const X* x = in.x;
  for (int64_t i = 0; i < rows; ++i, x += d, y += d) {
    X mean = 0, var = 0;
    const bool use = !in.valid || in.valid[i];
    for (int64_t j = 0; j < d && use; ++j) mean += x[j] / X(d);
    for (int64_t j = 0; j < d && use; ++j) var += (x[j] - mean) * (x[j] - mean) / X(d);
    for (int64_t j = 0; j < d; ++j)
      y[j] = use ? scaled_and_shifted<X>(in, j, (x[j] - mean) / sqrt(var + eps)) : X(0);
  }
}

template <class X>
void layer_norm_backward(int64_t rows, int64_t d, double eps, const NormInput<X>& in, const X* dy,
                         const NormGradients<X>& to) {
  using std::sqrt;
  const X* x = in.x;
  X* dx = to.dx;
  for (int64_t j = 0; j < d; ++j) to.dw[j] = to.db[j] = 0;
  for (int64_t i = 0; i < rows; ++i, x += d, dy += d, dx += d) {
    for (int64_t j = 0; j < d; ++j) dx[j] = 0;
    if (in.valid && !in.valid[i]) continue;
    X mean = 0, var = 0, mean_g = 0, mean_gx = 0;
    for (int64_t j = 0; j < d; ++j) mean += x[j] / X(d);
    for (int64_t j = 0; j < d; ++j) var += (x[j] - mean) * (x[j] - mean) / X(d);
    const X r = 1 / sqrt(var + eps);
    const auto xhat = [&](int64_t j) -> X { return (x[j] - mean) * r; };
    const auto passed = [&](int64_t j) { return passing<X>(in, j, xhat(j), dy[j]); };
    const auto g = [&](int64_t j) -> X { return in.w ? in.w[j] * passed(j) : passed(j); };
    for (int64_t j = 0; j < d; ++j) mean_g += g(j) / X(d);
    for (int64_t j = 0; j < d; ++j) mean_gx += g(j) * xhat(j) / X(d);
    for (int64_t j = 0; j < d; ++j) {
      dx[j] = r * (g(j) - mean_g - xhat(j) * mean_gx);
      to.dw[j] += passed(j) * xhat(j);
      to.db[j] += passed(j);
    }
  }
}

template <class X>
void rms_norm(int64_t rows, int64_t d, double eps, const NormInput<X>& in, X* y) {
  using std::sqrt;
  const X* x = in.x;
  for (int64_t i = 0; i < rows; ++i, x += d, y += d) {
    X square = 0;
    const bool use = !in.valid || in.valid[i];
    for (int64_t j = 0; j < d && use; ++j) square += x[j] * x[j] / X(d);
    for (int64_t j = 0; j < d; ++j)
      y[j] = use ? X(x[j] / sqrt(square + eps) * (in.w ? in.w[j] : X(1))) : X(0);
  }
}

template <class X>
void rms_norm_backward(int64_t rows, int64_t d, double eps, const NormInput<X>& in, const X* dy,
                       const NormGradients<X>& to) {
  using std::sqrt;
  const X* x = in.x;
  X* dx = to.dx;
  for (int64_t j = 0; j < d; ++j) to.dw[j] = 0;
  for (int64_t i = 0; i < rows; ++i, x += d, dy += d, dx += d) {
    for (int64_t j = 0; j < d; ++j) dx[j] = 0;
    if (in.valid && !in.valid[i]) continue;
    X square = 0, mean_gx = 0;
    for (int64_t j = 0; j < d; ++j) square += x[j] * x[j] / X(d);
    const X r = 1 / sqrt(square + eps);
    const auto g = [&](int64_t j) -> X { return in.w ? in.w[j] * dy[j] : dy[j]; };
    for (int64_t j = 0; j < d; ++j) mean_gx += g(j) * x[j] * r / X(d);
    for (int64_t j = 0; j < d; ++j) {
      dx[j] = r * (g(j) - x[j] * r * mean_gx);
      to.dw[j] += dy[j] * x[j] * r;
    }
  }
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
