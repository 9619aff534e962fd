// An op of one's own: a function and, beside it, its row with the backward. Both orders of
// derivatives are checked, and so is a trap that the first order does not show.
#include <gradus/gradus.h>

#include <cmath>

using namespace gradus;

Tensor unit(const Tensor& x);

// y = x / |x|, |x| the length of each row:  dx = (dy - y <dy, y>) / |x|
static Op unit_op("unit", [](Backward& ctx) {
  const Tensor x = ctx.kept(0), y = ctx.kept(1);
  const Tensor length = sqrt(sum(square(x), {-1}, true));
  ctx.set(0, (ctx.dy() - y * sum(ctx.dy() * y, {-1}, true)) / length);
});

/// x, y: (..., D)
Tensor unit(const Tensor& x) {
  check(x.ndim() > 0, "unit: x has shape {}; it needs an axis to take lengths along", x.shape());
  const Tensor values = raw::contiguous(x);
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), "unit", [&]<class T>() {
    const int64_t d = x.size(-1);
    const T* from = values.data<T>();
    T* to = y.mutable_data<T>();
    for (int64_t i = 0; i < x.numel(); i += d, from += d, to += d) {
      T squares = 0;
      for (int64_t j = 0; j < d; ++j) squares += from[j] * from[j];
      for (int64_t j = 0; j < d; ++j) to[j] = from[j] / std::sqrt(squares);
    }
  });
  return record(unit_op, y, {x}, {x, y});
}

// What it is checked with, wherever ops are checked by their names.
static OpSamples unit_samples("unit", [] {
  return std::vector{OpSample{"(3, 4)", {sample({3, 4}, 1)}, [](auto in) { return unit(in[0]); }}};
});

// The trap: to keep the lengths instead. x and y are on the tape, and a gradient of the gradient
// goes through them; the lengths are not, and count as constants in it.
static Op hasty_unit_op("hasty_unit", [](Backward& ctx) {
  const Tensor y = ctx.kept(0), length = ctx.kept(1);
  ctx.set(0, (ctx.dy() - y * sum(ctx.dy() * y, {-1}, true)) / length);
});

static Tensor hasty_unit(const Tensor& x) {
  Tensor y, length;
  {
    const NoRecord pause;
    length = sqrt(sum(square(x), {-1}, true));
    y = x / length;
  }
  return record(hasty_unit_op, y, {x}, {y, length});
}

int main() {
  const OpSample sample = op_samples("unit")[0];
  const GradcheckReport first = gradcheck(sample.f, sample.inputs);
  const GradcheckReport second = gradgradcheck(sample.f, sample.inputs);
  fmt::print("unit, first order:  {}\nunit, second order: {}\n\n", first.text(), second.text());

  const auto hasty = [](std::span<const Tensor> in) { return hasty_unit(in[0]); };
  const GradcheckReport hasty_first = gradcheck(hasty, sample.inputs);
  const GradcheckReport hasty_second = gradgradcheck(hasty, sample.inputs);
  fmt::print("hasty_unit, first order:  {}\nhasty_unit, second order: {}\n", hasty_first.text(),
             hasty_second.text());
  return first.ok() && second.ok() && hasty_first.ok() && !hasty_second.ok() ? 0 : 1;
}
