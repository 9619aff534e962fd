#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/where.h>

#include "samples/ops/broadcast_samples.h"

namespace gradus {

static OpSamples add_row("add", [] { return broadcast_samples(add, -2, 2, -2, 2); });

static OpSamples sub_row("sub", [] { return broadcast_samples(sub, -2, 2, -2, 2); });

static OpSamples mul_row("mul", [] { return broadcast_samples(mul, -2, 2, -2, 2); });

static OpSamples div_row("div", [] { return broadcast_samples(div, -2, 2, 0.5, 2); });

static OpSamples pow_row("pow", [] {
  return broadcast_samples([](const Tensor& a, const Tensor& b) { return pow(a, b); }, 0.5, 2, -2,
                           2);
});

static OpSamples maximum_row("maximum",
                             [] { return broadcast_samples(maximum, -2, 2, -1.9, 1.7); });

static OpSamples minimum_row("minimum",
                             [] { return broadcast_samples(minimum, -2, 2, -1.9, 1.7); });

}  // namespace gradus
