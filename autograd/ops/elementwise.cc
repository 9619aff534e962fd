#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/tensor/detail/broadcast.h>

#include <cmath>

namespace gradus {

namespace {

using functions::Needs;

template <class F>
void unary_backward(Backward& ctx);

// Gradients that choose dy, a share of it or 0, as what is kept decides, are linear in dy, their
// own adjoints, and have no slope in what is kept: ops of their own, by the same kernel.
template <class F>
constexpr const char* kChoice = nullptr;
template <>
constexpr const char* kChoice<functions::Relu> = "relu_gradient";
template <>
constexpr const char* kChoice<functions::Abs> = "abs_gradient";
template <>
constexpr const char* kChoice<functions::Clamp> = "clamp_gradient";
template <>
constexpr const char* kChoice<functions::Ahead> = "ahead_gradient";
template <>
constexpr const char* kChoice<functions::Behind> = "behind_gradient";

template <class F>
Op choice_op(kChoice<F>, unary_backward<F>);

/// y, recorded as op's result for x, with f as its attributes if it has parameters.
template <class F>
Tensor record_as(const Op& op, const F& f, Tensor y, const Tensor& x, const Tensor& kept) {
  if constexpr (std::is_empty_v<F>)
    return record(op, std::move(y), {x}, {kept});
  else
    return record(op, std::move(y), {x}, {kept}, f);
}

/// dx, kept being x or y. One kernel, or, when the sweep records itself, the same expression in
/// ops.
template <class F>
Tensor gradient(const F& f, const Tensor& dy, const Tensor& kept) {
  if constexpr (!kChoice<F>)
    if (needs_grad(dy) || needs_grad(kept)) return f.gradient(dy, kept);
  const raw::Contiguous dy_values(dy), kept_values(kept);
  Tensor dx = empty_like(kept);
  dispatch_floating(dx.dtype(), F::name, [&]<class T>() {
    kernels::unary_backward(f, dx.numel(), dy_values.data<T>(), kept_values.data<T>(),
                            dx.mutable_data<T>());
  });
  if constexpr (kChoice<F>)
    if (detail::recorder) return record_as(choice_op<F>, f, std::move(dx), dy, kept);
  return dx;
}

template <class F>
Tensor apply(const F& f, const Tensor& x);

template <class F>
void unary_backward(Backward& ctx) {
  F f;
  if constexpr (!std::is_empty_v<F>) f = ctx.attrs<F>();
  if constexpr (F::needs == Needs::nothing)
    ctx.set(0, f.gradient(ctx.dy(), Tensor()));
  else
    ctx.set(0, gradient(f, ctx.dy(), ctx.kept(0)));
}

template <class F>
Op unary_op(F::name, unary_backward<F>);

// The functions that i64 has, too: of two arguments, one of them a number.

template <class F>
Tensor with_number(const char* op, const Tensor& x, double number) {
  return binary_forward<F>(op, x, full({}, number, DType::i64));
}
Tensor of_integers(const functions::AddScalar& f, const Tensor& x) {
  return with_number<functions::Add>("add", x, f.c);
}
Tensor of_integers(const functions::MulScalar& f, const Tensor& x) {
  return with_number<functions::Mul>("mul", x, f.c);
}
Tensor of_integers(const functions::Affine& f, const Tensor& x) {
  return with_number<functions::Add>("affine", with_number<functions::Mul>("affine", x, f.scale),
                                     f.shift);
}
Tensor of_integers(const functions::Clamp& f, const Tensor& x) {
  return with_number<functions::Minimum>(
      "clamp", with_number<functions::Maximum>("clamp", x, f.low), f.high);
}
Tensor of_integers(const functions::Neg&, const Tensor& x) {
  return with_number<functions::Mul>("neg", x, -1);
}
Tensor of_integers(const functions::Abs&, const Tensor& x) {
  return binary_forward<functions::Maximum>("abs", x, with_number<functions::Mul>("abs", x, -1));
}
Tensor of_integers(const functions::Square&, const Tensor& x) {
  return binary_forward<functions::Mul>("square", x, x);
}
Tensor of_integers(const functions::Sign&, const Tensor& x) {
  return of_integers(functions::Clamp{{-1, 1}}, x);
}

template <class F>
Tensor evaluate(const F& f, const Tensor& x) {
  if constexpr (requires { of_integers(f, x); })
    if (x.dtype() == DType::i64) return of_integers(f, x);
  const raw::Contiguous values(x);
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), F::name, [&]<class T>() {
    kernels::unary(f, x.numel(), values.data<T>(), y.mutable_data<T>());
  });
  return y;
}

template <class F>
Tensor apply(const F& f, const Tensor& x) {
  const Tensor y = evaluate(f, x);
  const Tensor& kept = keep_if(F::needs != Needs::nothing, F::needs == Needs::y ? y : x);
  return record_as(unary_op<F>, f, y, x, kept);
}

/// The same for a function with a parameter, which x's dtype must hold.
template <class F>
Tensor apply(const char* op, double parameter, const Tensor& x) {
  check_number(op, parameter, x.dtype());
  return apply(F{parameter}, x);
}

void check_bounds(const char* op, const Tensor& x, double low, double high) {
  check_number(op, low, x.dtype());
  check_number(op, high, x.dtype());
}

}  // namespace

#define GRADUS_UNARY(Functor, op, ...) \
  Tensor op(const Tensor& x) { return apply(functions::Functor{}, x); }
#include <gradus/kernels/elementwise/formulas.inc>

/// The part of dy that `kept`, of the same shape, chooses.
template <class F>
static Tensor choose(const Tensor& dy, const Tensor& kept) {
  check_same_dtype(kChoice<F>, dy, kept);
  check(dy.shape() == kept.shape(), "{}: dy {} for {}", kChoice<F>, dy.shape(), kept.shape());
  return gradient(F{}, dy, kept);
}

Tensor relu_gradient(const Tensor& dy, const Tensor& y) { return choose<functions::Relu>(dy, y); }
Tensor ahead_gradient(const Tensor& dy, const Tensor& order) {
  return choose<functions::Ahead>(dy, order);
}
Tensor behind_gradient(const Tensor& dy, const Tensor& order) {
  return choose<functions::Behind>(dy, order);
}

Tensor gelu(const Tensor& x, GeluForm form) {
  return form == GeluForm::exact ? apply(functions::GeluErf{}, x) : apply(functions::GeluTanh{}, x);
}

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return apply<functions::LeakyRelu>("leaky_relu", negative_slope, x);
}
Tensor elu(const Tensor& x, double alpha) { return apply<functions::Elu>("elu", alpha, x); }

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "clamp: low {} is above high {}", low, high);
  check_bounds("clamp", x, low, high);
  return apply(functions::Clamp{low, high}, x);
}

Tensor clamp(const Tensor& x, const Tensor& low, const Tensor& high) {
  const auto is_nan = [](const Tensor& v) { return not_equal(v, v); };
  Tensor y = x;
  if (low) y = where(less(y, low) | is_nan(low), low, y);
  if (high) y = where(greater(y, high) | is_nan(high), high, y);
  return y;
}

Tensor add(const Tensor& a, double b) { return apply<functions::AddScalar>("add", b, a); }
Tensor mul(const Tensor& a, double b) { return apply<functions::MulScalar>("mul", b, a); }
Tensor div(const Tensor& a, double b) { return apply<functions::DivScalar>("div", b, a); }
Tensor div(double a, const Tensor& b) { return apply<functions::ScalarDiv>("div", a, b); }
Tensor affine(const Tensor& x, double scale, double shift) {
  check_bounds("affine", x, scale, shift);
  return apply(functions::Affine{scale, shift}, x);
}

namespace {

bool is_integer_power(double exponent) {
  return exponent == std::trunc(exponent) && std::abs(exponent) <= kernels::kLargestIntegerPower;
}

}  // namespace

// y = x^n by products:  dx = dy n x^(n - 1)
static Op pow_integer_op("pow_integer", [](Backward& ctx) {
  const int n = ctx.attrs<int>();
  const Tensor x = ctx.kept(0);
  const Tensor& dy = ctx.dy();
  if (n == 0) return ctx.set(0, zeros_like(dy));
  if (needs_grad(dy) || needs_grad(x)) return ctx.set(0, dy * (n * pow(x, n - 1)));
  const raw::Contiguous dy_values(dy), values(x);
  Tensor dx = empty_like(x);
  dispatch_floating(x.dtype(), "pow", [&]<class T>() {
    kernels::integer_power_backward(x.numel(), n, dy_values.data<T>(), values.data<T>(),
                                    dx.mutable_data<T>());
  });
  ctx.set(0, std::move(dx));
});

static Tensor integer_power(const Tensor& x, int n) {
  const raw::Contiguous values(x);
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), "pow", [&]<class T>() {
    kernels::integer_power(x.numel(), n, values.data<T>(), y.mutable_data<T>());
  });
  return record(pow_integer_op, std::move(y), {x}, {x}, n);
}

Tensor pow(const Tensor& a, double b) {
  if (b == 2) return square(a);
  if (b == -1) return reciprocal(a);
  if (b == 0.5) return sqrt(a);
  if (b == -0.5) return rsqrt(a);
  if (is_integer_power(b)) return integer_power(a, static_cast<int>(b));
  return apply<functions::PowScalar>("pow", b, a);
}

Tensor step(const Tensor& x) { return evaluate(functions::Step{}, x); }
Tensor sign(const Tensor& x) { return evaluate(functions::Sign{}, x); }
Tensor round(const Tensor& x) { return evaluate(functions::Round{}, x); }
Tensor floor(const Tensor& x) { return evaluate(functions::Floor{}, x); }
Tensor ceil(const Tensor& x) { return evaluate(functions::Ceil{}, x); }
Tensor inside(const Tensor& x, double low, double high) {
  check_bounds("inside", x, low, high);
  return evaluate(functions::Inside{low, high}, x);
}

}  // namespace gradus
