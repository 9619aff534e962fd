#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// y = x weight^T + bias, the bias if there is one.
/// x: (..., in)   weight: (out, in)   bias: (out)   y: (..., out)
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
/// relu(linear(x, weight, bias)) in one op.
Tensor linear_relu(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace gradus
