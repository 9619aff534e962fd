#pragma once
#include <gradus/autograd/tape.h>

#include <string>

namespace gradus {

struct GradcheckOptions {
  /// Analytic a and numeric n agree if |a - n| <= atol + rtol max(|a|, |n|) + 10 * Ridders' error
  /// bound.
  double rtol = 1e-6;
  double atol = 1e-9;
  double step = 1e-2;  ///< Ridders' first step, times max(1, |x|)
  uint64_t seed = 1;   ///< of the projection
};

/// One derivative, seen from both sides.
struct GradcheckEntry {
  int input = -1;    ///< which input
  std::string name;  ///< its name, if it has one
  Shape index;       ///< which of its elements
  double analytic = 0, numeric = 0;
  double bound = 0;  ///< Ridders' estimate of the error of `numeric`
};

struct GradcheckReport {
  int64_t entries = 0;  ///< compared
  int64_t disagreeing = 0;
  double largest_error = 0;  ///< |a - n| / max(1, |a|, |n|)
  GradcheckEntry worst;      ///< the entry furthest beyond its tolerance
  bool ok() const { return entries > 0 && disagreeing == 0; }
  std::string text() const;
};

/// Any function of f64 tensors whose inputs require gradients.
using Function = std::function<Tensor(std::span<const Tensor>)>;

/// Compares d<f(x), u>/dx, u a fixed random direction of unit norm for each output element's
/// weight, by a sweep and by Ridders' extrapolation of central differences (Ridders 1982), for
/// every element of every input. Inputs are restored exactly. Errors: an input that is not f64 or
/// needs no gradient, an f that returns no tensor or does not depend on any input, values that are
/// not finite.
GradcheckReport gradcheck(const Function& f, std::span<const Tensor> inputs,
                          const GradcheckOptions& options = {});

/// The same for the gradient itself: d<df/dx, v>/d(x, u), so that second derivatives are checked.
GradcheckReport gradgradcheck(const Function& f, std::span<const Tensor> inputs,
                              const GradcheckOptions& options = {});

}  // namespace gradus
