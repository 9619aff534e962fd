#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/carried.h>
#include <gradus/autograd/ops/detail/reduced.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace gradus {

using detail::reduced;

namespace {

/// The gradient that reaches each of n losses.
Tensor spread(const Tensor& dy, Reduction reduction, int64_t n) {
  return reduction == Reduction::mean ? mul(dy, 1.0 / static_cast<double>(n)) : dy;
}

void check_pair(const char* op, const Tensor& x, const Tensor& target, Reduction reduction) {
  check_same_dtype(op, x, target);
  check(x.shape() == target.shape() && (reduction != Reduction::mean || x.numel() > 0),
        "{}: x {} and target {} must have one shape{}", op, x.shape(), target.shape(),
        x.numel() == 0 ? ", and elements for a mean" : "");
}

}  // namespace

// l = (x - t)^2:  dx = 2 (x - t) dl = -dt
static Op mse_loss_op("mse_loss", [](Backward& ctx) {
  const Tensor x = ctx.kept(0);
  const Tensor dl = spread(ctx.dy(), ctx.attrs<Reduction>(), x.numel());
  const Tensor dx = (x - ctx.kept(1)) * mul(dl, 2);
  if (ctx.needs(0)) ctx.set(0, dx);
  if (ctx.needs(1)) ctx.set(1, -dx);
});

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  check_pair("mse_loss", x, target, reduction);
  Tensor y;
  {
    const NoRecord pause;
    y = detail::carried_if_finite(
        [&](const Tensor& a, const Tensor& b) { return reduced(square(a - b), reduction); }, x,
        target);
  }
  return record(mse_loss_op, std::move(y), {x, target}, {x, target}, reduction);
}

namespace {

struct HuberAttrs {
  double delta;
  Reduction reduction;
};

}  // namespace

// l = c (d - c / 2), d = x - t, c = d limited to [-delta, delta]:  dx = c dl = -dt
static Op huber_loss_op("huber_loss", [](Backward& ctx) {
  const auto& [delta, reduction] = ctx.attrs<HuberAttrs>();
  const Tensor x = ctx.kept(0);
  const Tensor dl = spread(ctx.dy(), reduction, x.numel());
  const Tensor dx = clamp(x - ctx.kept(1), -delta, delta) * dl;
  if (ctx.needs(0)) ctx.set(0, dx);
  if (ctx.needs(1)) ctx.set(1, -dx);
});

Tensor huber_loss(const Tensor& x, const Tensor& target, double delta, Reduction reduction) {
  check_pair("huber_loss", x, target, reduction);
  check(delta > 0, "huber_loss: delta is {}, not above 0", delta);
  check_number("huber_loss", delta, x.dtype());
  Tensor y;
  {
    const NoRecord pause;
    const auto compute = [&](const Tensor& a, const Tensor& b) {
      const Tensor d = a - b, c = clamp(d, -delta, delta);
      return reduced(c * (d - mul(c, 0.5)), reduction);
    };
    y = detail::carried_if_finite(compute, x, target);
  }
  return record(huber_loss_op, std::move(y), {x, target}, {x, target},
                HuberAttrs{delta, reduction});
}

namespace {

/// q z, the positive examples' part.
Tensor positive(const Tensor& target, const Tensor& pos_weight) {
  return pos_weight ? pos_weight * target : target;
}

/// 1 + (q - 1) z = 1 - z + q z: what log p and log(1 - p) have in common in x's coefficient.
Tensor positive_share(const Tensor& target, const Tensor& pos_weight) {
  return pos_weight ? 1 - target + pos_weight * target : ones({}, target.dtype());
}

Tensor weighted(const Tensor& x, const Tensor& weight) { return weight ? x * weight : x; }

void check_constant(const char* op, const char* what, const Tensor& w, const Tensor& x) {
  if (!w) return;
  check_same_dtype(op, x, w);
  check(!needs_grad(w), "{}: {}, shape {}, is a constant to the loss, but requires a gradient", op,
        what, w.shape());
}

void check_weight(const char* op, const char* what, const Tensor& w, const Tensor& x) {
  check_constant(op, what, w, x);
  if (w && broadcast_shapes(op, x.shape(), w.shape()) != x.shape())
    fail("{}: {} {} does not broadcast to x {}", op, what, w.shape(), x.shape());
}

}  // namespace

// l = w ((1 - z) x + h softplus(-x)), h = 1 + (q - 1) z:
// dx = w (1 - z - h sigmoid(-x)) dl,  dz = w ((q - 1) softplus(-x) - x) dl
// All are computed from their equals by the sign of x, in which nothing cancels: in l
// (1 - z or q z) |x| + h softplus(-|x|), in dx for x < 0 h sigmoid(x) - q z, in dz for x < 0
// (q - 1) softplus(x) - q x.
static Op binary_cross_entropy_op("binary_cross_entropy_with_logits", [](Backward& ctx) {
  const Tensor x = ctx.kept(0), z = ctx.kept(1), w = ctx.kept(2), q = ctx.kept(3);
  const Tensor dl = weighted(spread(ctx.dy(), ctx.attrs<Reduction>(), x.numel()), w);
  const Tensor share = positive_share(z, q);
  if (ctx.needs(0))
    ctx.set(0, where(x > 0, 1 - z - share * sigmoid(-x), share * sigmoid(x) - positive(z, q)) * dl);
  if (!ctx.needs(1)) return;
  const Tensor less = q ? q - 1 : Tensor();
  ctx.set(1, (q ? where(x < 0, less * softplus(x) - q * x, less * softplus(-x) - x) : -x) * dl);
});

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target,
                                        const BinaryCrossEntropyOptions& options) {
  const char* op = binary_cross_entropy_op.name;
  const Tensor &weight = options.weight, &pos_weight = options.pos_weight;
  const Reduction reduction = options.reduction;
  check_pair(op, x, target, reduction);
  check_weight(op, "weight", weight, x);
  check_weight(op, "pos_weight", pos_weight, x);
  Tensor y;
  {
    const NoRecord pause;
    const auto compute = [&](const Tensor& v, const Tensor& z, const Tensor& w, const Tensor& q) {
      const Tensor size = abs(v);
      const Tensor losses =
          where(v > 0, 1 - z, positive(z, q)) * size + positive_share(z, q) * softplus(-size);
      return reduced(weighted(losses, w), reduction);
    };
    y = detail::carried_if_finite(compute, x, target, weight, pos_weight);
  }
  return record(binary_cross_entropy_op, std::move(y), {x, target}, {x, target, weight, pos_weight},
                reduction);
}

// The losses from here on are compositions: their gradients, of any order, are those of their ops.
// What a formula does not read at an element (log 0 beside a factor 0) is replaced before it is
// computed, so that no 0 meets an infinity in a gradient.

Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  check_pair("l1_loss", x, target, reduction);
  return reduced(abs(x - target), reduction);
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta, Reduction reduction) {
  check_pair("smooth_l1_loss", x, target, reduction);
  check_number("smooth_l1_loss", beta, x.dtype());
  const double least = dispatch_floating(x.dtype(), "smooth_l1_loss", []<class T>() {
    return static_cast<double>(std::numeric_limits<T>::min());
  });
  check(beta == 0 || beta >= least,
        "smooth_l1_loss: beta is {}; {} computes with 0, or with {} or more", beta, x.dtype(),
        least);
  if (beta == 0) return l1_loss(x, target, reduction);
  return huber_loss(x, target, beta, reduction) / beta;
}

Tensor kl_div(const Tensor& x, const Tensor& target, const KlDivOptions& options) {
  check_pair("kl_div", x, target, options.reduction);
  const Tensor none =
      equal(target, options.log_target ? -std::numeric_limits<double>::infinity() : 0);
  const bool some = any(none);
  const Tensor logs = some ? masked_fill(x, none, 0) : x;
  if (options.log_target) {
    // e^0 (0 - 0) where the target is log 0
    const Tensor t = some ? masked_fill(target, none, 0) : target;
    return reduced(exp(t) * (t - logs), options.reduction);
  }
  const Tensor t = some ? masked_fill(target, none, 1) : target;  // 1 (log 1 - 0) where it is 0
  return reduced(t * (log(t) - logs), options.reduction);
}

namespace {

/// log p, at least -100.
Tensor limited_log(const Tensor& p) {
  constexpr double limit = -100;
  const Tensor beyond = p < std::exp(limit);
  return any(beyond) ? masked_fill(log(masked_fill(p, beyond, 1)), beyond, limit) : log(p);
}

}  // namespace

Tensor binary_cross_entropy(const Tensor& x, const Tensor& target,
                            const BinaryCrossEntropyLossOptions& options) {
  check_pair("binary_cross_entropy", x, target, options.reduction);
  check_weight("binary_cross_entropy", "weight", options.weight, x);
  check(!any(logical_or(x<0, x> 1)),
        "binary_cross_entropy: x holds numbers below 0 or above 1, no probabilities; "
        "binary_cross_entropy_with_logits takes logits");
  const Tensor losses = -(target * limited_log(x) + (1 - target) * limited_log(1 - x));
  return reduced(weighted(losses, options.weight), options.reduction);
}

Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Tensor& var,
                         const GaussianNllLossOptions& options) {
  const char* op = "gaussian_nll_loss";
  check_pair(op, x, target, options.reduction);
  check_same_dtype(op, x, var);
  check(options.eps > 0, "{}: eps is {}, not above 0", op, options.eps);
  check_number(op, options.eps, x.dtype());
  // Without the last axis it is one variance for each row, also where it would broadcast otherwise.
  const bool rows = x.ndim() > 0 && var.shape() == x.shape().erased(x.ndim() - 1);
  const Tensor each = rows ? unsqueeze(var, -1) : var;
  if (each.ndim() != x.ndim() || broadcast_shapes(op, x.shape(), each.shape()) != x.shape())
    fail("{}: var {} for x {}; it needs that shape, one axis less, or sizes of 1", op, var.shape(),
         x.shape());
  check(!any(each < 0), "{}: var {} holds negative numbers", op, var.shape());
  Tensor lift;  // a constant: the gradient passes it
  {
    const NoRecord pause;
    lift = relu(options.eps - each);
  }
  const Tensor v = each + lift;
  Tensor losses = mul(log(v) + square(x - target) / v, 0.5);
  if (options.full) losses = losses + 0.5 * std::log(2 * std::numbers::pi);
  return reduced(losses, options.reduction);
}

namespace {

/// max(|x|, eps) along the axis, which stays, of the sums of squares: constant where they are
/// small.
Tensor limited_norm(const Tensor& squares, double eps) {
  const Tensor small = squares <= eps * eps;
  return any(small) ? masked_fill(sqrt(masked_fill(squares, small, 1)), small, eps) : sqrt(squares);
}

}  // namespace

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t axis, double eps) {
  const char* op = "cosine_similarity";
  check_same_dtype(op, a, b);
  check(eps > 0, "{}: eps is {}, not above 0", op, eps);
  check_number(op, eps, a.dtype());
  const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
  const int along = normalize_axis(op, axis, shape.ndim());
  bool squares_fit = true;
  const auto compute = [&](const Tensor& u, const Tensor& v) {
    const Tensor u2 = sum(square(u), {along}, true), v2 = sum(square(v), {along}, true);
    squares_fit = all_finite(u2) && all_finite(v2);
    return sum((u / limited_norm(u2, eps)) * (v / limited_norm(v2, eps)), {along});
  };
  return detail::carried(
      compute, [&](const Tensor&) { return squares_fit; }, expand(a, shape), expand(b, shape));
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target,
                             const CosineEmbeddingLossOptions& options) {
  const char* op = "cosine_embedding_loss";
  check_same_dtype(op, a, b);
  check(a.shape() == b.shape() && a.ndim() >= 1 && a.ndim() <= 2 &&
            target.shape() == a.shape().erased(a.ndim() - 1),
        "{}: a {}, b {} and target {}; needs (N, D), (N, D) and (N)", op, a.shape(), b.shape(),
        target.shape());
  check(options.reduction != Reduction::mean || target.numel() > 0,
        "{}: the mean of no rows, a being {}", op, a.shape());
  check_number(op, options.margin, a.dtype());
  const Tensor alike = equal(target, 1);
  check(all(logical_or(alike, equal(target, -1))), "{}: target {} must hold 1 and -1 alone", op,
        target.shape());
  const Tensor c = cosine_similarity(a, b, -1);
  return reduced(where(alike, 1 - c, relu(c - options.margin)), options.reduction);
}

}  // namespace gradus
