#pragma once
#include <gradus/autograd/ops/activation.h>
#include <gradus/autograd/tape.h>

namespace gradus {

/// y = activation(x weight^T + bias), the bias if there is one.
/// x: (..., in)   weight: (out, in)   bias: (out)   y: (..., out)
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              Activation activation = Activation::none);

}  // namespace gradus
