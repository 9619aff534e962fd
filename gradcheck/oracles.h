#pragma once
#include <gradus/gradcheck/gradcheck.h>

namespace gradus {

// Other judges of a gradient than differences, through the same report. Inputs as for gradcheck.

/// Derivatives of all output elements, row-major, by one entry of one input: dual numbers', say.
using JacobianColumn = std::function<std::vector<double>(size_t input, int64_t entry)>;

/// Against derivatives that are exact but for `accuracy` times the largest of their tensor.
GradcheckReport gradcheck_against(const JacobianColumn& exact, const Function& f,
                                  std::span<const Tensor> inputs, double accuracy = 1e-13,
                                  const GradcheckOptions& options = {});

/// Against a safetensors file from another framework. It holds, for each of `names`, f's input and
/// the gradient "NAME.grad" of it; "dy", the gradient that those come from; perhaps the output "y".
/// All may differ by `accuracy` times the largest of their tensor.
GradcheckReport gradcheck_file(const std::string& path, const std::vector<std::string>& names,
                               const Function& f, double accuracy = 1e-12,
                               const GradcheckOptions& options = {});

/// f's gradients in f32 against those in f64 at the same points, for random dy. They may differ by
/// `ulps` units in the last place (2^-23) of the entry or, if that is larger, its tensor's rms.
/// f computes in the dtype of its inputs, which are f32 or f64 here.
GradcheckReport gradcheck_f32(const Function& f, std::span<const Tensor> inputs, double ulps = 32,
                              const GradcheckOptions& options = {});

/// The slope of log |<f(x + h v) - f(x) - h J v, u>| over log h as h goes to 0, v random along one
/// input at a time: 2, or more, if J is right, and 1 if not. "analytic" in the report is the slope.
GradcheckReport gradcheck_taylor(const Function& f, std::span<const Tensor> inputs,
                                 const GradcheckOptions& options = {});

}  // namespace gradus
