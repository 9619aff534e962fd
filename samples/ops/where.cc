#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/where.h>

#include "samples/ops/broadcast_samples.h"

namespace gradus {

static OpSamples where_row("where", [] {
  return broadcast_samples(
      [](const Tensor& a, const Tensor& b) {
        const Shape shape = broadcast_shapes("where", a.shape(), b.shape());
        return where(greater(sample(shape, 3), 0), a, b);
      },
      -2, 2, -2, 2);
});

}  // namespace gradus
