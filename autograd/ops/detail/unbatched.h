#pragma once
#include <gradus/autograd/ops/shape.h>

namespace gradus::detail {

/// f(x), of an x with `ndim` axes; one that has no batch's axis becomes a batch of one, and back.
template <class F>
Tensor batched(const Tensor& x, int ndim, F f) {
  return x.ndim() == ndim - 1 ? squeeze(f(unsqueeze(x, 0)), 0) : f(x);
}

}  // namespace gradus::detail
