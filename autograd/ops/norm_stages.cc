#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/detail/carried.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>

#include <algorithm>
#include <cmath>

namespace gradus {

static double count_valid(const Tensor& valid) {
  double count = 0;
  for (bool v : valid.to_vector<bool>()) count += v;
  return count;
}

NormGroups layer_norm_groups(const Tensor& x, const Shape& normalized_shape, const Tensor& valid) {
  const int64_t d = normalized_shape.numel();
  int64_t rows = 1;
  for (int i = 0; i < x.ndim() - normalized_shape.ndim(); ++i) rows *= x.shape()[i];
  return {
      {rows, d}, {1}, {d}, valid ? reshape(valid, {rows, 1}) : Tensor(), static_cast<double>(d)};
}

NormGroups rms_norm_groups(const Tensor& x, const Shape& normalized_shape, const Tensor& valid) {
  NormGroups groups = layer_norm_groups(x, normalized_shape, valid);
  groups.centred = false;
  return groups;
}

NormGroups group_norm_groups(const Tensor& x, int64_t groups, const Tensor& valid) {
  check(x.ndim() >= 2 && groups > 0 && x.size(1) % groups == 0,
        "group_norm: {} groups of x {}, which needs channels in axis 1 that they divide", groups,
        x.shape());
  const int64_t n = x.size(0), channels = x.size(1) / groups;
  int64_t inner = 1;
  for (int i = 2; i < x.ndim(); ++i) inner *= x.size(i);
  return {{n, groups, channels, inner},
          {2, 3},
          {1, groups, channels, 1},
          valid ? reshape(valid, {n, 1, 1, 1}) : Tensor(),
          static_cast<double>(channels * inner)};
}

NormGroups batch_norm_groups(const Tensor& x, ChannelAxis axis, const Tensor& valid) {
  const int64_t c = x.size(axis == ChannelAxis::last ? -1 : 1);
  const int channels = axis == ChannelAxis::last ? x.ndim() - 1 : 1;
  int64_t outer = 1, inner = 1;  // which no channels leave as they are
  for (int i = 0; i < x.ndim(); ++i)
    if (i != channels) (i < channels ? outer : inner) *= x.shape()[i];
  const Tensor mask = valid ? reshape(valid, {outer, 1, inner}) : Tensor();
  return {{outer, c, inner},
          {0, 2},
          {1, c, 1},
          mask,
          mask ? count_valid(mask) : static_cast<double>(outer * inner)};
}

Tensor clear_invalid(const NormGroups& groups, const Tensor& v) {
  return groups.valid ? where(groups.valid, v, zeros({}, v.dtype())) : v;
}

Tensor group_mean(const NormGroups& groups, const Tensor& v) {
  return mul(sum(clear_invalid(groups, v), groups.axes, true), 1 / groups.count);
}

namespace {

/// What a group is centred by: the mean of v, or 0.
Tensor group_centre(const NormGroups& groups, const Tensor& v) {
  if (groups.centred) return group_mean(groups, v);
  Shape one_a_group = groups.shape;
  for (int64_t axis : groups.axes) one_a_group[static_cast<int>(axis)] = 1;
  return zeros(one_a_group, v.dtype());
}

/// Whether the mask is of whole groups.
bool leaves_out_groups(const NormGroups& groups) {
  if (!groups.valid) return false;
  for (int64_t axis : groups.axes)
    if (groups.valid.size(axis) != 1) return false;
  return true;
}

Tensor as(const Tensor& v, DType dtype) { return v ? cast(v, dtype) : v; }

/// Whether its dtype carries a norm by these statistics. In f64, and of a mean square, 0 may be of
/// numbers whose squares vanish.
bool is_ordinary(const NormGroups& groups, const Tensor& mean, const Tensor& variance) {
  return detail::carries_deviations(mean, variance, kernels::kNormReach,
                                    groups.centred && mean.dtype() == DType::f32);
}

/// y of such statistics, spread being variance + eps.
NormForward normalize_by(const NormGroups& groups, const Tensor& x, const Tensor& mean,
                         const Tensor& variance, Tensor spread, const Tensor& weight,
                         const Tensor& bias) {
  // A group that a mask leaves out has variance 0, and with eps = 0 no root either.
  if (leaves_out_groups(groups)) spread = where(groups.valid, spread, ones({}, spread.dtype()));
  NormForward f{mean, variance, rsqrt(spread), {}, {}};
  f.xhat = clear_invalid(groups, reshape(x, groups.shape) - mean) * f.rstd;
  Tensor y = weight ? f.xhat * reshape(weight, groups.weights) : f.xhat;
  if (bias) y = clear_invalid(groups, y + reshape(bias, groups.weights));
  f.y = reshape(y, x.shape());
  return f;
}

/// A norm of x is one of x `scale`, with eps scale^2.
struct ScaledForward {
  NormForward f;   // of x `scale`
  Tensor inverse;  // 1 / scale
  Tensor scale;    // a power of two a group, by which its largest number is about 1; a constant
};

ScaledForward scaled_forward(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                             const Tensor& bias, double eps) {
  const Tensor values = clear_invalid(groups, reshape(x, groups.shape));
  ScaledForward s;
  {
    const NoRecord pause;
    const Tensor largest = max(abs(values), groups.axes, true);
    std::vector<double> scale, inverse;
    for (double v : largest.to_vector<double>()) {
      const double size = std::max(v, std::sqrt(eps));
      const bool usual = size > 0 && std::isfinite(size);
      const int exponent = usual ? std::clamp(std::ilogb(size), -1000, 1000) : 0;
      scale.push_back(std::ldexp(1, -exponent));
      inverse.push_back(std::ldexp(1, exponent));
    }
    s.scale = Tensor::from(scale, largest.shape());
    s.inverse = Tensor::from(inverse, largest.shape());
  }
  const Tensor scaled = values * s.scale, mean = group_centre(groups, scaled);
  const Tensor variance = group_mean(groups, square(scaled - mean));
  s.f = normalize_by(groups, scaled, mean, variance, variance + mul(s.scale, eps) * s.scale, weight,
                     bias);
  s.f.y = reshape(s.f.y, x.shape());
  return s;
}

}  // namespace

NormForward norm_forward(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, double eps) {
  const Tensor values = clear_invalid(groups, reshape(x, groups.shape));
  const Tensor mean = group_centre(groups, values);
  const Tensor variance = group_mean(groups, square(values - mean));
  if (is_ordinary(groups, mean, variance))
    return normalize_with(groups, x, mean, variance, weight, bias, eps);
  if (x.dtype() == DType::f64) {
    ScaledForward s = scaled_forward(groups, x, weight, bias, eps);
    s.f.mean = s.f.mean * s.inverse;
    s.f.variance = s.f.variance * s.inverse * s.inverse;
    s.f.rstd = s.f.rstd * s.scale;
    return s.f;
  }
  const DType wide = DType::f64, own = x.dtype();
  NormForward f = norm_forward(groups, cast(x, wide), as(weight, wide), as(bias, wide), eps);
  for (Tensor* v : {&f.mean, &f.variance, &f.rstd, &f.xhat, &f.y}) *v = cast(*v, own);
  return f;
}

NormForward normalize_with(const NormGroups& groups, const Tensor& x, const Tensor& mean,
                           const Tensor& variance, const Tensor& weight, const Tensor& bias,
                           double eps) {
  return normalize_by(groups, x, mean, variance, variance + eps, weight, bias);
}

NormBackward norm_backward(const NormGroups& groups, const NormForward& f, const Tensor& weight,
                           const Tensor& dy) {
  NormBackward b;
  const Tensor dy_valid = clear_invalid(groups, reshape(dy, groups.shape));
  b.g = weight ? dy_valid * reshape(weight, groups.weights) : dy_valid;
  b.mean_g = group_centre(groups, b.g);
  b.mean_g_xhat = group_mean(groups, b.g * f.xhat);
  b.direct = f.rstd * b.g;
  b.mean_term = f.rstd * b.mean_g;
  b.variance_term = f.rstd * f.xhat * b.mean_g_xhat;
  b.dx = reshape(clear_invalid(groups, b.direct - b.mean_term - b.variance_term), dy.shape());
  const Shape flat{groups.weights.numel()};
  b.dweight = reshape(sum_to(dy_valid * f.xhat, groups.weights), flat);
  b.dbias = reshape(sum_to(dy_valid, groups.weights), flat);
  return b;
}

// With P(v) = v - mean(v) - x^ mean(v x^), symmetric, dx = r P(g). For upstream p, pw, pb:
// F = r sum p P(g) + sum pw dy x^ + sum pb dy.  Then, x^ = (x - mean) r and r = (var + eps)^-1/2:
//   dF/dg = r P(p),   dF/dx^ = q = pw dy - r (p mean(g x^) + g mean(p x^)),   dF/dr = sum p P(g)
//   dF/dx = r P(q) - r^2 x^ mean(p P(g))
static NormSecond second_order(const NormGroups& groups, const NormForward& f, const Tensor& weight,
                               const Tensor& dy, const Tensor& ddx, const Tensor& ddweight,
                               const Tensor& ddbias) {
  const auto mean = [&](const Tensor& v) { return group_mean(groups, v); };
  const auto project = [&](const Tensor& v) {
    return clear_invalid(groups, v - group_centre(groups, v) - f.xhat * mean(v * f.xhat));
  };
  const auto add_to = [](Tensor& sum, const Tensor& term) { sum = sum ? sum + term : term; };
  const Tensor dy_valid = clear_invalid(groups, reshape(dy, groups.shape));
  const Tensor w = weight ? reshape(weight, groups.weights) : Tensor();
  const Tensor g = w ? dy_valid * w : dy_valid;
  Tensor q, to_x, to_weight, to_dy;
  if (ddx) {
    const Tensor p = clear_invalid(groups, reshape(ddx, groups.shape));
    const Tensor to_g = f.rstd * project(p);
    q = -(f.rstd * (p * mean(g * f.xhat) + g * mean(p * f.xhat)));
    to_x = -(square(f.rstd) * f.xhat * mean(p * project(g)));
    to_dy = w ? to_g * w : to_g;
    to_weight = sum_to(to_g * dy_valid, groups.weights);
  }
  if (ddweight) {
    const Tensor pw = reshape(ddweight, groups.weights);
    add_to(q, pw * dy_valid);
    add_to(to_dy, pw * f.xhat);
  }
  if (ddbias)
    add_to(to_dy, clear_invalid(groups, expand(reshape(ddbias, groups.weights), groups.shape)));
  if (q) add_to(to_x, f.rstd * project(q));
  const auto shaped = [&](const Tensor& v, const Shape& shape) {
    return v ? reshape(v, shape) : zeros(shape, dy.dtype());
  };
  const auto cleared = [&](const Tensor& v) { return v ? clear_invalid(groups, v) : v; };
  return {shaped(cleared(to_x), groups.shape), shaped(to_weight, {groups.weights.numel()}),
          shaped(cleared(to_dy), dy.shape())};
}

NormSecond norm_backward_backward(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                                  const Tensor& dy, double eps, const Tensor& ddx,
                                  const Tensor& ddweight, const Tensor& ddbias) {
  if (x.dtype() == DType::f32) {
    // Products of f32's numbers leave f32, above or below, where their sums would not, and cancel.
    const DType own = x.dtype(), wide = DType::f64;
    NormSecond d = norm_backward_backward(groups, cast(x, wide), as(weight, wide), cast(dy, wide),
                                          eps, as(ddx, wide), as(ddweight, wide), as(ddbias, wide));
    for (Tensor* v : {&d.x, &d.weight, &d.dy}) *v = cast(*v, own);
    return d;
  }
  NormSecond d;
  NormForward f = norm_forward(groups, x, {}, {}, eps);
  if (is_ordinary(groups, f.mean, f.variance)) {
    d = second_order(groups, f, weight, dy, ddx, ddweight, ddbias);
  } else {
    // By the chain rule through x scale, ddx's part of that being ddx scale.
    const ScaledForward s = scaled_forward(groups, x, {}, {}, eps);
    const Tensor p = ddx ? reshape(ddx, groups.shape) * s.scale : ddx;
    d = second_order(groups, s.f, weight, dy, p, ddweight, ddbias);
    d.x = d.x * s.scale;
  }
  d.x = reshape(d.x, x.shape());
  return d;
}

}  // namespace gradus
