#include <gradus/autograd/ops/cast.h>

namespace gradus {

// y = x in another dtype:  dx = dy in x's. No samples: differences cannot be taken through f32.
static Op cast_op("cast", [](Backward& ctx) { ctx.set(0, cast(ctx.dy(), ctx.attrs<DType>())); });

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = raw::cast(x, dtype);
  return is_floating(dtype) ? record(cast_op, std::move(y), {x}, {}, x.dtype()) : y;
}

}  // namespace gradus
