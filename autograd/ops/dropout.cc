#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/elementwise/elementwise.h>

#include <cmath>

namespace gradus {

namespace {

/// y = scale x where mask holds, else 0.   mask: x's shape, in row-major order
Tensor scaled_where(const Tensor& x, const Tensor& mask, double scale);

// Linear in x, and its own adjoint:  dx = scale dy where mask holds
Op dropout_op("dropout", [](Backward& ctx) {
  ctx.set(0, scaled_where(ctx.dy(), ctx.kept(0), ctx.attrs<double>()));
});

Tensor scaled_where(const Tensor& x, const Tensor& mask, double scale) {
  const raw::Contiguous values(x);
  const bool* chosen = mask.data<bool>();
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), "dropout", [&]<class T>() {
    const T* from = values.data<T>();
    T* to = y.mutable_data<T>();
    const T factor = static_cast<T>(scale);
    kernels::parallel_for(x.numel(), kernels::kElementwiseGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = chosen[i] ? factor * from[i] : T(0);
    });
  });
  return record(dropout_op, std::move(y), {x}, {mask}, scale);
}

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, Generator& generator) {
  check(p >= 0 && p <= 1, "dropout: the probability {} does not lie in [0, 1]", p);
  if (!training || p == 0) return reshape(x, x.shape());
  const uint64_t dropped = static_cast<uint64_t>(std::llround(p * 0x1p32));  // of 2^32
  Tensor mask = empty(x.shape(), DType::boolean);
  bool* chosen = mask.mutable_data<bool>();
  for (int64_t i = 0; i < x.numel(); ++i) chosen[i] = generator.uint32() >= dropped;
  return scaled_where(x, mask, p < 1 ? 1 / (1 - p) : 0);
}

}  // namespace gradus
