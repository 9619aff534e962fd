#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/carried.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>

namespace gradus {

namespace {

Tensor reduced(const Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? mean(losses) : sum(losses);
}

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
  for (const Tensor* w : {&weight, &pos_weight}) {
    const char* what = w == &weight ? "weight" : "pos_weight";
    check_constant(op, what, *w, x);
    if (*w && broadcast_shapes(op, x.shape(), w->shape()) != x.shape())
      fail("{}: {} {} does not broadcast to x {}", op, what, w->shape(), x.shape());
  }
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

}  // namespace gradus
