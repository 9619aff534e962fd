#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// x in another dtype; between f32 and f64 with a gradient. 1 and 0 for true and false.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace gradus
