#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/tensor/detail/broadcast.h>

#include <limits>

namespace gradus {

// y = a + b:  da = dy, db = dy, summed over the axes along which each was repeated.
static Op add_op("add", [](Backward& ctx) {
  for (int i = 0; i < 2; ++i)
    if (ctx.needs(i)) ctx.set(i, sum_to(ctx.dy(), ctx.input_shape(i)));
});

Tensor add(const Tensor& a, const Tensor& b) {
  return record(add_op, binary_forward<functions::Add>("add", a, b), {a, b});
}

// y = a - b:  da = dy, db = -dy
static Op sub_op("sub", [](Backward& ctx) {
  if (ctx.needs(0)) ctx.set(0, sum_to(ctx.dy(), ctx.input_shape(0)));
  if (ctx.needs(1)) ctx.set(1, sum_to(-ctx.dy(), ctx.input_shape(1)));
});

Tensor sub(const Tensor& a, const Tensor& b) {
  return record(sub_op, binary_forward<functions::Sub>("sub", a, b), {a, b});
}

// y = a b:  da = dy b, db = dy a
static Op mul_op("mul", [](Backward& ctx) {
  if (ctx.needs(0)) ctx.set(0, sum_to(ctx.dy() * ctx.kept(1), ctx.input_shape(0)));
  if (ctx.needs(1)) ctx.set(1, sum_to(ctx.dy() * ctx.kept(0), ctx.input_shape(1)));
});

Tensor mul(const Tensor& a, const Tensor& b) {
  return record(mul_op, binary_forward<functions::Mul>("mul", a, b), {a, b},
                {keep_if(needs_grad(b), a), keep_if(needs_grad(a), b)});
}

// y = a / b:  da = dy / b, db = -dy (y / b). The slope comes first: dy / b and dy y may leave the
// dtype's range where y, the slope and the gradient do not.
static Op div_op("div", [](Backward& ctx) {
  const Tensor y = ctx.kept(0), b = ctx.kept(1);
  if (ctx.needs(0)) ctx.set(0, sum_to(ctx.dy() / b, ctx.input_shape(0)));
  if (ctx.needs(1)) ctx.set(1, sum_to(-(ctx.dy() * (y / b)), ctx.input_shape(1)));
});

Tensor div(const Tensor& a, const Tensor& b) {
  const Tensor y = binary_forward<functions::Div>("div", a, b);
  return record(div_op, y, {a, b}, {keep_if(needs_grad(b), y), b});
}

/// Where 1 / a is not finite.
static Tensor has_no_reciprocal(const Tensor& a) {
  const NoRecord pause;
  return logical_not(less(abs(1 / a), std::numeric_limits<double>::infinity()));
}

// y = a^b:  da = dy b a^(b-1), db = dy y log a. Where they are 0 by rule (arithmetic.h) the
// operands are replaced first: behind a mask alone, 0 log 0 would wait for the next derivative.
static Op pow_op("pow", [](Backward& ctx) {
  const Tensor a = ctx.kept(0), b = ctx.kept(1), y = ctx.kept(2);
  const Tensor& dy = ctx.dy();
  if (ctx.needs(0)) {
    Tensor dead = equal(b, 0);
    if (needs_grad(b))
      dead = logical_and(dead, has_no_reciprocal(a));  // else b / a has a slope in b
    const Tensor exponent = where(dead, 1, b);
    const Tensor da = masked_fill(dy, dead, 0) * (exponent * pow(a, exponent - 1));
    ctx.set(0, sum_to(masked_fill(da, dead, 0), ctx.input_shape(0)));
  }
  if (ctx.needs(1)) {
    const Tensor dead = logical_and(equal(a, 0), greater_equal(b, 0));
    const Tensor base = where(dead, 1, a);
    const bool recorded = needs_grad(a) || needs_grad(b);
    const Tensor db = masked_fill(dy, dead, 0) * ((recorded ? pow(base, b) : y) * log(base));
    ctx.set(1, sum_to(db, ctx.input_shape(1)));
  }
});

Tensor pow(const Tensor& a, const Tensor& b) {
  Tensor y = binary_forward<functions::Pow>("pow", a, b);
  return record(pow_op, y, {a, b}, {a, b, keep_if(needs_grad(b), y)});
}

/// A number in b's dtype, which must hold it.
static Tensor number_for(const char* op, double a, const Tensor& b) {
  check_number(op, a, b.dtype());
  return full({}, a, b.dtype());
}

Tensor pow(double a, const Tensor& b) { return pow(number_for("pow", a, b), b); }

// y = max(a, b):  da = dy, half of it where a = b, none where a < b, and db with a and b exchanged
static void extremum_backward(Backward& ctx, const Tensor& upper, const Tensor& lower) {
  const Tensor order = binary_forward<functions::Order>("maximum", upper, lower);
  if (ctx.needs(0)) ctx.set(0, sum_to(ahead_gradient(ctx.dy(), order), ctx.input_shape(0)));
  if (ctx.needs(1)) ctx.set(1, sum_to(behind_gradient(ctx.dy(), order), ctx.input_shape(1)));
}

static Op maximum_op("maximum",
                     [](Backward& ctx) { extremum_backward(ctx, ctx.kept(0), ctx.kept(1)); });

Tensor maximum(const Tensor& a, const Tensor& b) {
  return record(maximum_op, binary_forward<functions::Maximum>("maximum", a, b), {a, b}, {a, b});
}

Tensor maximum(const Tensor& a, double b) { return maximum(a, number_for("maximum", b, a)); }

static Op minimum_op("minimum",
                     [](Backward& ctx) { extremum_backward(ctx, ctx.kept(1), ctx.kept(0)); });

Tensor minimum(const Tensor& a, const Tensor& b) {
  return record(minimum_op, binary_forward<functions::Minimum>("minimum", a, b), {a, b}, {a, b});
}

Tensor minimum(const Tensor& a, double b) { return minimum(a, number_for("minimum", b, a)); }

}  // namespace gradus
