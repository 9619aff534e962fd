// Checking gradients: Layer Normalization's is right; one that forgets that mean and deviation
// depend on x, too, is caught.
#include <gradus/gradus.h>

using namespace gradus;

// y = (x - mean) r over the last axis, with a wrong backward: dx = r dy, as if mean and r were
// constants. docs/derivations/layer_norm.md has the two terms that are missing.
static Op hasty_norm_op("hasty_norm", [](Backward& ctx) { ctx.set(0, ctx.dy() * ctx.kept(0)); });

static Tensor hasty_norm(const Tensor& x) {
  Tensor y, r;
  {
    const NoRecord pause;  // what happens inside is not recorded, only the whole
    const Tensor centred = x - mean(x, {-1}, true);
    r = rsqrt(mean(square(centred), {-1}, true) + 1e-5);
    y = centred * r;
  }
  return record(hasty_norm_op, y, {x}, {r});
}

int main() {
  // Differences need digits: inputs are f64.
  Generator generator(1);
  const Tensor x = randn({3, 5}, generator, DType::f64).set_requires_grad().set_name("x");
  const std::vector inputs{x};

  // gradcheck compares each entry of the sweep's gradient with a difference quotient of the
  // function, extrapolated to a step of 0, whose error it knows.
  const GradcheckReport right = gradcheck([](auto in) { return layer_norm(in[0], {5}); }, inputs);
  fmt::print("layer_norm: {}\n", right.text());

  // The gradient is a function as well, and can be checked in the same way.
  const GradcheckReport second =
      gradgradcheck([](auto in) { return layer_norm(in[0], {5}); }, inputs);
  fmt::print("its second derivatives: {}\n", second.text());

  const GradcheckReport wrong = gradcheck([](auto in) { return hasty_norm(in[0]); }, inputs);
  fmt::print("\nhasty_norm: {}\n", wrong.text());

  // Its values are right all the same: only a check of the gradient finds the mistake.
  const double apart = max(abs(hasty_norm(x) - layer_norm(x, {5}))).item();
  fmt::print("but its values differ from layer_norm's by {:.0e} at most\n", apart);
  return right.ok() && second.ok() && !wrong.ok() && apart < 1e-12 ? 0 : 1;
}
