#pragma once
#include <gradus/autograd/functional/function.h>
#include <gradus/autograd/ops/norm_stages.h>

namespace gradus {

// What holds of every normalization and its gradient, whatever the data, with eps accounted for: a
// gradient that breaks one is wrong. x^ = (x - mean) r, r = (var + eps)^-1/2, g = weight dy, sums
// over a group (docs/derivations/layer_norm.md).

/// One of them, for some data.
struct Invariant {
  std::string what;        ///< the equation
  Tensor found, expected;  ///< of one shape
  Tensor scale;            ///< the sizes of what was added up: rounding leaves a part of these

  /// The largest |found - expected| / scale: some 1e-16 in f64.
  double error() const;
  /// Whether found is expected but for rounding.
  bool holds(double tolerance = 1e-13) const { return error() <= tolerance; }
};

/// sum dx = 0
Invariant gradient_sum(const NormGroups& groups, const Tensor& dx);

/// <dx, x^> = eps r^3 sum g x^
Invariant gradient_along_xhat(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                              const Tensor& dy, const Tensor& dx, double eps);

/// <w_c, dw_c> = eps r_c^2 sum g x^ for weights whose products, without a bias, a Batch
/// Normalization takes in: the loss hardly changes with their length.
/// w, dw: (C, ...)   x: their products, in groups of BatchNorm
Invariant weight_along_itself(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                              const Tensor& dy, const Tensor& w, const Tensor& dw, double eps);

/// norm(a x + b) = weight x^ a (var + eps)^1/2 (a^2 var + eps)^-1/2 + bias, which for eps = 0 is
/// sign(a) norm(x) up to the bias.
Invariant scaled_and_shifted(const Function& norm, const NormGroups& groups, const Tensor& x,
                             const Tensor& weight, const Tensor& bias, double eps, double a,
                             double b);

}  // namespace gradus
