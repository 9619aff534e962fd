#pragma once
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/kernels/norm/in_double.h>

namespace gradus::detail {

/// compute(inputs), and where f32 has not carried it, in f64 and rounded once: a sum of squares
/// may overflow where their mean, or the sum's other terms, would not. `carried` judges f32's
/// result.
template <class Compute, class Carried, class... Inputs>
Tensor carried(Compute compute, Carried is_carried, const Inputs&... inputs) {
  Tensor y = compute(inputs...);
  if (y.dtype() != DType::f32 || is_carried(y)) return y;
  const auto wide = [](const Tensor& v) { return v ? cast(v, DType::f64) : v; };
  return cast(compute(wide(inputs)...), DType::f32);
}
template <class Compute, class... Inputs>
Tensor carried_if_finite(Compute compute, const Inputs&... inputs) {
  return carried(compute, all_finite, inputs...);
}

/// Whether the dtype carries x - mean and its square by the kernels' rule for norms, a mean being
/// within `reach` standard deviations of 0. variance: of x along the mean's axes.
inline bool carries_deviations(const Tensor& mean, const Tensor& variance, double reach,
                               bool zeros_are_equal_numbers = true) {
  return dispatch_floating(mean.dtype(), "norm", [&]<class T>() {
    const std::vector<T> m = mean.to_vector<T>(), v = variance.to_vector<T>();
    for (size_t i = 0; i < m.size(); ++i) {
      const bool zeros = zeros_are_equal_numbers && m[i] == 0 && v[i] == 0;
      if (!zeros && !kernels::carries_deviations(m[i], v[i], static_cast<T>(reach))) return false;
    }
    return true;
  });
}

}  // namespace gradus::detail
