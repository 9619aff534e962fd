// Derivatives of derivatives: what a function's slope, curvature and third derivative are, by
// functions that nest because each records itself where a tape records.
#include <gradus/gradus.h>

#include <cmath>

using namespace gradus;

int main() {
  // f(x) = sum of tanh(x_i). With t = tanh(x): f' = 1 - t^2, f'' = -2 t f', f''' = (6 t^2 - 2) f'.
  const Function f = [](const Tensor& x) { return sum(tanh(x)); };
  const Tensor x = Tensor::of({-1, 0.25, 2}, DType::f64), one = ones({}, DType::f64);

  const Function slope = [&](const Tensor& in) { return vjp(f, in, one); };
  const Function curvature = [&](const Tensor& in) { return hvp(f, in, ones_like(in)); };
  const Tensor third = jvp(curvature, x, ones_like(x));

  const Tensor t = tanh(x), d = 1.0 - square(t);
  fmt::print("f'   {:.8}\nf''  {:.8}\nf''' {:.8}\n", slope(std::span(&x, 1)),
             curvature(std::span(&x, 1)), third);
  const double apart = max(abs(third - (6.0 * square(t) - 2.0) * d)).item();
  fmt::print("the third derivative is {:.0e} from the closed form\n\n", apart);

  // The curvature of a loss at the weights of a small network behind a Batch Normalization: the
  // Hessian is symmetric, u^T H v = v^T H u, and its largest eigenvalue says how long a step of
  // gradient descent may be.
  Generator generator(1);
  const Tensor inputs = randn({16, 3}, generator, DType::f64),
               w = randn({4, 3}, generator, DType::f64), u = randn({4, 3}, generator, DType::f64),
               v = randn({4, 3}, generator, DType::f64);
  const Function loss = [&](const Tensor& weight) {
    return mean(square(tanh(batch_norm(linear(inputs, weight)).y) - 0.5));
  };
  const double uhv = sum(u * hvp(loss, w, v)).item(), vhu = sum(v * hvp(loss, w, u)).item();
  fmt::print("u^T H v = {:.12f}, v^T H u = {:.12f}\n", uhv, vhu);
  const Eigenvalue largest = largest_hessian_eigenvalue(loss, std::span(&w, 1));
  fmt::print(
      "largest eigenvalue {:.6f} after {} products with H: steps below {:.2f} do not diverge\n",
      largest.value, largest.iterations, 2 / largest.value);
  const bool right = apart < 1e-14 && std::abs(uhv - vhu) < 1e-12 && largest.converged;
  return right ? 0 : 1;
}
