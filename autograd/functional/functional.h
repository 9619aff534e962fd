#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/tape.h>

namespace gradus {

// Derivatives of functions of tensors. xs may be any tensors, not leaves alone. Where a tape
// records the results are recorded on it, so that these functions nest: hvp of a function that
// calls jvp is a third derivative. Of a result that depends on none of xs they are 0.

/// J(x)^T u for each x.  u: f(xs)'s shape
std::vector<Tensor> vjp(const Function& f, std::span<const Tensor> xs, const Tensor& u);
/// J(x) v, vs like xs, by two sweeps: u -> J^T u is linear, and its gradient is J v.
Tensor jvp(const Function& f, std::span<const Tensor> xs, std::span<const Tensor> vs);
/// H v for each x, f's result a scalar.
std::vector<Tensor> hvp(const Function& f, std::span<const Tensor> xs, std::span<const Tensor> vs);
/// df/dx for one x: f(x)'s shape and then x's.
Tensor jacobian(const Function& f, const Tensor& x);
/// d^2 f/dx dx, f's result a scalar: x's shape twice.
Tensor hessian(const Function& f, const Tensor& x);

/// How long and how exactly largest_hessian_eigenvalue() searches.
struct EigenvalueOptions {
  int max_iterations = 1000;  ///< of a pass
  /// Of |H v - value v| relative to |value|, or to 1e-10 of the modulus of the largest eigenvalue.
  /// The value lies that near to an eigenvalue.
  double tolerance = 1e-4;
  uint64_t seed = 1;  ///< of the first vector
};

/// What largest_hessian_eigenvalue() found.
struct Eigenvalue {
  double value = 0;            ///< v^T H v
  std::vector<Tensor> vector;  ///< like xs, of unit norm
  double residual = 0;         ///< |H v - value v|
  int iterations = 0;          ///< products with H
  bool converged = false;      ///< whether the residual is within the tolerance
};

/// The largest eigenvalue of the Hessian by power iteration (von Mises & Pollaczek-Geiringer 1929).
/// Where that finds a negative one, or none in time, as with one of each sign and equal modulus, a
/// second pass iterates H + s, s the largest |H v| seen. It converges slowly where the largest
/// eigenvalues lie close together beside s; look at `converged`.
Eigenvalue largest_hessian_eigenvalue(const Function& f, std::span<const Tensor> xs,
                                      const EigenvalueOptions& options = {});

/// The same for a single x.
inline Tensor vjp(const Function& f, const Tensor& x, const Tensor& u) {
  return vjp(f, std::span(&x, 1), u)[0];
}
inline Tensor jvp(const Function& f, const Tensor& x, const Tensor& v) {
  return jvp(f, std::span(&x, 1), std::span(&v, 1));
}
inline Tensor hvp(const Function& f, const Tensor& x, const Tensor& v) {
  return hvp(f, std::span(&x, 1), std::span(&v, 1))[0];
}

}  // namespace gradus
