#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/axes_last.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/softmax/softmax.h>

#include <limits>

namespace gradus {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// f, a function along the last axis that keeps the shape, along another axis.
template <class F>
Tensor along(const Tensor& x, int axis, F f) {
  return transpose(f(transpose(x, axis, -1)), axis, -1);
}

/// y = kernel(x), row by row.
template <class Kernel>
Tensor row_wise(const char* op, const Tensor& x, Kernel kernel) {
  const raw::Contiguous values(x);
  Tensor y = empty_like(x);
  if (x.numel() == 0) return y;
  const int64_t d = x.shape().back();
  dispatch_floating(x.dtype(), op, [&]<class T>() {
    kernel(x.numel() / d, d, values.data<T>(), y.mutable_data<T>());
  });
  return y;
}

/// dx = kernel(y, dy), row by row.
template <class Kernel>
Tensor row_wise_backward(const char* op, const Tensor& y, const Tensor& dy, Kernel kernel) {
  check_same_dtype(op, y, dy);
  check(y.ndim() > 0 && y.shape() == dy.shape(),
        "{}: y {} and dy {} differ in shape, or have no axis", op, y.shape(), dy.shape());
  const raw::Contiguous values(y), gradient(dy);
  Tensor dx = empty_like(y);
  if (y.numel() == 0) return dx;
  const int64_t d = y.shape().back();
  dispatch_floating(y.dtype(), op, [&]<class T>() {
    kernel(y.numel() / d, d, values.data<T>(), gradient.data<T>(), dx.mutable_data<T>());
  });
  return dx;
}

Tensor log_softmax_backward(const Tensor& y, const Tensor& dy);

}  // namespace

// y = softmax(x):  dx = y (dy - sum dy y)  (docs/derivations/softmax_cross_entropy.md)
static Op softmax_op("softmax",
                     [](Backward& ctx) { ctx.set(0, softmax_backward(ctx.kept(0), ctx.dy())); });

Tensor softmax(const Tensor& x, int64_t axis) {
  const int i = normalize_axis("softmax", axis, x.ndim());
  if (x.ndim() == 0) return reshape(softmax(reshape(x, {1})), {});
  if (i != x.ndim() - 1) return along(x, i, [](const Tensor& rows) { return softmax(rows); });
  Tensor y = row_wise("softmax", x, [](int64_t rows, int64_t d, auto* from, auto* to) {
    kernels::softmax(rows, d, from, to);
  });
  return record(softmax_op, y, {x}, {y});
}

// dx = y (dy - s), s = sum dy y; with g its gradient and t = sum g y:
// d dy = y (g - t),  d y = g (dy - s) - t dy
static Op softmax_backward_op("softmax_backward", [](Backward& ctx) {
  const Tensor y = ctx.kept(0), dy = ctx.kept(1);
  const Tensor& g = ctx.dy();
  if (ctx.needs(0)) ctx.set(0, g * (dy - sum(dy * y, {-1}, true)) - dy * sum(g * y, {-1}, true));
  if (ctx.needs(1)) ctx.set(1, softmax_backward(y, g));
});

Tensor softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = row_wise_backward("softmax_backward", y, dy,
                                [](int64_t rows, int64_t d, auto* from_y, auto* from_dy, auto* to) {
                                  kernels::softmax_backward(rows, d, from_y, from_dy, to);
                                });
  return record(softmax_backward_op, std::move(dx), {y, dy}, {y, keep_if(needs_grad(y), dy)});
}

// y = log softmax(x):  dx = dy - exp(y) sum dy
static Op log_softmax_op("log_softmax", [](Backward& ctx) {
  ctx.set(0, log_softmax_backward(ctx.kept(0), ctx.dy()));
});

Tensor log_softmax(const Tensor& x, int64_t axis) {
  const int i = normalize_axis("log_softmax", axis, x.ndim());
  if (x.ndim() == 0) return reshape(log_softmax(reshape(x, {1})), {});
  if (i != x.ndim() - 1) return along(x, i, [](const Tensor& rows) { return log_softmax(rows); });
  Tensor y = row_wise("log_softmax", x, [](int64_t rows, int64_t d, auto* from, auto* to) {
    kernels::log_softmax(rows, d, from, to);
  });
  return record(log_softmax_op, y, {x}, {y});
}

// dx = dy - exp(y) sum dy; with g its gradient:
// d dy = g - sum g exp(y),  d y = -exp(y) g sum dy
// As sum exp(y) = 1, any number may be subtracted from g first; the g of the largest y leaves what
// counts where exp(y) is nearly 1.
static Op log_softmax_backward_op("log_softmax_backward", [](Backward& ctx) {
  const Tensor p = exp(ctx.kept(0));
  const Tensor& g = ctx.dy();
  const Tensor gp = g * p;
  if (ctx.needs(0)) ctx.set(0, -gp * sum(ctx.kept(1), {-1}, true));
  if (!ctx.needs(1)) return;
  const Tensor rest = g.numel() == 0 ? g : g - gather(g, -1, argmax(p, -1, true));
  ctx.set(1, rest - sum(rest * p, {-1}, true));
});

namespace {

Tensor log_softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = row_wise_backward("log_softmax_backward", y, dy,
                                [](int64_t rows, int64_t d, auto* from_y, auto* from_dy, auto* to) {
                                  kernels::log_softmax_backward(rows, d, from_y, from_dy, to);
                                });
  return record(log_softmax_backward_op, std::move(dx), {y, dy}, {y, keep_if(needs_grad(y), dy)});
}

}  // namespace

// y = log sum exp(x):  dx = dy softmax(x). Beside an infinite x the others are 0, that one is NaN.
static Op logsumexp_op("logsumexp", [](Backward& ctx) {
  const Tensor x = ctx.kept(0), y = ctx.kept(1);
  const auto column = [&](const Tensor& v) {
    return reshape(v, x.shape().erased(x.ndim() - 1).inserted(x.ndim() - 1, 1));
  };
  Tensor p = softmax(x);
  if (const Tensor infinite = equal(y, kInfinity); any(infinite))
    p = masked_fill(p, logical_and(less(x, kInfinity), column(infinite)), 0);
  ctx.set(0, p * column(ctx.dy()));
});

Tensor logsumexp(const Tensor& x, int64_t axis, bool keepdim) {
  const int i = normalize_axis("logsumexp", axis, x.ndim());
  if (x.ndim() == 0) return reshape(logsumexp(reshape(x, {1})), {});
  if (i != x.ndim() - 1) {
    const Tensor y = logsumexp(transpose(x, i, -1), -1, true);
    return keepdim ? transpose(y, i, -1) : squeeze(transpose(y, i, -1), i);
  }
  const int64_t d = x.shape().back();
  check(d > 0, "logsumexp: of no elements, shape {}", x.shape());
  const raw::Contiguous values(x);
  Shape shape = x.shape().erased(i);
  if (keepdim) shape.push_back(1);
  Tensor y = empty(shape, x.dtype());
  dispatch_floating(x.dtype(), "logsumexp", [&]<class T>() {
    kernels::logsumexp(y.numel(), d, values.data<T>(), y.mutable_data<T>());
  });
  return record(logsumexp_op, y, {x}, {x, y});
}

Tensor logsumexp(const Tensor& x, const Axes& axes, bool keepdim) {
  const auto reduced = axis_flags("logsumexp", axes, x.ndim());
  return reshape(logsumexp(detail::axes_last(x, reduced), -1),
                 detail::reduced_shape(x.shape(), reduced, keepdim));
}

}  // namespace gradus
