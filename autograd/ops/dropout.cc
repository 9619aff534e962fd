#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/elementwise/elementwise.h>

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
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), "dropout", [&]<class T>() {
    kernels::scale_where(x.numel(), mask.data<bool>(), static_cast<T>(scale), values.data<T>(),
                         y.mutable_data<T>());
  });
  return record(dropout_op, std::move(y), {x}, {mask}, scale);
}

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, Generator& generator) {
  check(p >= 0 && p <= 1, "dropout: the probability {} does not lie in [0, 1]", p);
  if (!training || p == 0) return reshape(x, x.shape());
  return scaled_where(x, bernoulli(x.shape(), 1 - p, generator), p < 1 ? 1 / (1 - p) : 0);
}

}  // namespace gradus
