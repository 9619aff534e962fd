#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/norm_invariants.h>

#include <algorithm>
#include <cmath>

namespace gradus {

double Invariant::error() const {
  const std::vector<double> f = found.to_vector<double>(), e = expected.to_vector<double>(),
                            s = scale.to_vector<double>();
  double largest = 0;
  for (size_t i = 0; i < f.size(); ++i) {
    const double difference = std::abs(f[i] - e[i]);
    const double error = difference == 0 ? 0 : difference / s[i];
    if (!(error <= largest)) largest = error;  // NaN, too
  }
  return largest;
}

namespace {

Tensor group_sum(const NormGroups& groups, const Tensor& v) {
  return sum(clear_invalid(groups, v), groups.axes, true);
}

struct Parts {
  NormForward forward;
  Tensor g;
  Tensor g_xhat;  // sum g x^
};

Parts parts_of(const NormGroups& groups, const Tensor& x, const Tensor& weight, const Tensor& dy,
               double eps) {
  Parts p{norm_forward(groups, x, {}, {}, eps), reshape(dy, groups.shape), {}};
  if (weight) p.g = p.g * reshape(weight, groups.weights);
  p.g_xhat = group_sum(groups, p.g * p.forward.xhat);
  return p;
}

}  // namespace

Invariant gradient_sum(const NormGroups& groups, const Tensor& dx) {
  const NoRecord pause;
  const Tensor d = reshape(dx, groups.shape), found = group_sum(groups, d);
  return {"sum dx = 0", found, zeros_like(found), group_sum(groups, abs(d))};
}

Invariant gradient_along_xhat(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                              const Tensor& dy, const Tensor& dx, double eps) {
  const NoRecord pause;
  const Parts p = parts_of(groups, x, weight, dy, eps);
  const Tensor d = reshape(dx, groups.shape), r = p.forward.rstd;
  return {"<dx, x^> = eps r^3 sum g x^", group_sum(groups, d * p.forward.xhat),
          r * square(r) * p.g_xhat * eps, r * group_sum(groups, abs(p.g * p.forward.xhat))};
}

Invariant weight_along_itself(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                              const Tensor& dy, const Tensor& w, const Tensor& dw, double eps) {
  const NoRecord pause;
  const Parts p = parts_of(groups, x, weight, dy, eps);
  const int64_t channels = w.size(0);
  check(groups.weights.numel() == channels,
        "weight_along_itself: w {} for a Batch Normalization of {} channels", w.shape(),
        groups.weights.numel());
  const auto by_channel = [&](const Tensor& v) { return reshape(v, {channels, -1}); };
  const Tensor products = by_channel(w) * by_channel(dw);
  const Tensor values = clear_invalid(groups, reshape(x, groups.shape));
  // w and dw are sums over the group, too: of |g| r |x|.
  const Tensor summed = group_sum(groups, abs(p.g * p.forward.rstd * values));
  return {"<w, dw> = eps r^2 sum g x^", sum(products, {1}),
          reshape(square(p.forward.rstd) * p.g_xhat * eps, {channels}),
          reshape(summed, {channels}) + sum(abs(products), {1})};
}

Invariant scaled_and_shifted(const Function& norm, const NormGroups& groups, const Tensor& x,
                             const Tensor& weight, const Tensor& bias, double eps, double a,
                             double b) {
  const NoRecord pause;
  const Tensor moved = x * a + b;
  const NormForward f = norm_forward(groups, x, {}, {}, eps);
  const Tensor shrink = sqrt(f.variance + eps) * rsqrt(f.variance * (a * a) + eps) * a;
  Tensor y = f.xhat * shrink, size = abs(y);
  if (weight) {
    y = y * reshape(weight, groups.weights);
    size = abs(y);
  }
  // How far a x + b is rounded, in deviations.
  const Tensor rounding =
      (abs(reshape(moved, groups.shape)) + std::abs(b)) * f.rstd * (1 / std::abs(a));
  size = size + (weight ? abs(reshape(weight, groups.weights)) : ones({}, x.dtype())) * rounding;
  if (bias) {
    y = clear_invalid(groups, y + reshape(bias, groups.weights));
    size = size + abs(reshape(bias, groups.weights));
  }
  return {"norm(a x + b) is norm(x), but for eps", norm(std::span(&moved, 1)),
          reshape(y, x.shape()), reshape(size, x.shape())};
}

}  // namespace gradus
