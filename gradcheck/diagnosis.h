#pragma once
#include <gradus/tensor/shape.h>

#include <span>
#include <string>
#include <vector>

namespace gradus {

/// What a wrong gradient looks like.
enum class Pattern {
  none,                 ///< like nothing known
  no_gradient,          ///< none arrived, or zeros, where the function does depend on the input
  factor,               ///< every entry times one number: 2, -1, N/(N-1), 1/N, ...
  factor_per_group,     ///< one number for each index of some axes: another deviation, eps
  transposition,        ///< two axes exchanged
  swapped_inputs,       ///< another input's gradient
  shift,                ///< one place off along an axis
  mask_not_applied,     ///< right where there is a gradient, not zero where there is none
  entries_missing,      ///< right or zero
  broadcast_unreduced,  ///< only the first of the outputs along an axis arrives
  overwritten,          ///< only the last of the outputs along an axis arrives
  mean_term,            ///< the residual is constant along the normalized axes
  variance_term,        ///< the residual is proportional to x^ along them
  wrong_axis,           ///< the residual has parts constant along two axes, one of them wrong
  constant_statistics,  ///< the residual is made of both
  stale_statistics,     ///< as if normalized with other statistics
};
/// "transposition", "mask not applied", ...
const char* name(Pattern pattern);

/// A pattern that explains a wrong gradient.
struct Diagnosis {
  Pattern pattern = Pattern::none;  ///< the first that explains the whole difference
  std::string text = {};            ///< a sentence's end: "looks like ..."; empty for Pattern::none
};

/// Rows of the Jacobian with respect to one input, from both sides.
struct JacobianRows {
  Shape input, output;  ///< of x and of f(x)
  /// Which output element each row is of; -1: a weighted sum of all.
  std::vector<int64_t> rows;
  std::span<const double> analytic, numeric, tolerance;  ///< (rows, input.numel())
  std::span<const double> x;                             ///< the input's values
};

/// The first pattern that explains the whole difference; none if none does.
Diagnosis diagnose(const JacobianRows& jacobian);

/// Which box of entries these are, or a list of the first: "entries [3]", "entries [:, 2]".
std::string describe_entries(const Shape& shape, std::span<const int64_t> entries);

}  // namespace gradus
