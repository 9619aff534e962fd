#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/tensor/detail/broadcast.h>

namespace gradus {

// y = c ? a : b:  da = c ? dy : 0,  db = c ? 0 : dy
static Op where_op("where", [](Backward& ctx) {
  const Tensor c = ctx.kept(0), zero = zeros({}, ctx.dy().dtype());
  if (ctx.needs(0)) ctx.set(0, sum_to(where(c, ctx.dy(), zero), ctx.input_shape(0)));
  if (ctx.needs(1)) ctx.set(1, sum_to(where(c, zero, ctx.dy()), ctx.input_shape(1)));
});

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check(condition.dtype() == DType::boolean, "where: the condition is {}, not bool",
        name(condition.dtype()));
  check_same_dtype("where", a, b);
  const Shape shape =
      broadcast_shapes("where", broadcast_shapes("where", a.shape(), b.shape()), condition.shape());
  Tensor y = empty(shape, a.dtype());
  kernels::WhereLayout layout;
  layout.ndim = shape.ndim();
  for (int i = 0; i < shape.ndim(); ++i) layout.sizes[i] = shape[i];
  broadcast_strides(condition, shape, layout.c_strides);
  broadcast_strides(a, shape, layout.a_strides);
  broadcast_strides(b, shape, layout.b_strides);
  dispatch(a.dtype(), [&]<class T>() {
    kernels::where<T>(layout, condition.strided_data<bool>(), a.strided_data<T>(),
                      b.strided_data<T>(), y.mutable_data<T>());
  });
  return record(where_op, std::move(y), {a, b}, {condition});
}

Tensor where(const Tensor& condition, const Tensor& a, double b) {
  check_number("where", b, a.dtype());
  return where(condition, a, full({}, b, a.dtype()));
}

Tensor where(const Tensor& condition, double a, const Tensor& b) {
  check_number("where", a, b.dtype());
  return where(condition, full({}, a, b.dtype()), b);
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  broadcast_shapes("masked_fill", x.shape(), mask.shape());
  check_number("masked_fill", value, x.dtype());
  return where(mask, full({}, value, x.dtype()), x);
}

}  // namespace gradus
