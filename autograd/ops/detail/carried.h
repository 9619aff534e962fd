#pragma once
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>

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

}  // namespace gradus::detail
