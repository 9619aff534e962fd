#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// a where condition holds, b elsewhere; broadcasts. condition: bool; a, b: one dtype.
/// A position that was not chosen has no influence, be it NaN: its gradient is 0.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor where(const Tensor& condition, const Tensor& a, double b);
Tensor where(const Tensor& condition, double a, const Tensor& b);
/// value, which x's dtype must hold, where mask (bool) holds, x elsewhere; broadcasts.
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

}  // namespace gradus
