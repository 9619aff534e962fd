#include <gradus/autograd/ops/detail/factor.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/kernels/reduce/reduce.h>

namespace gradus {

namespace {

Tensor column_sums(const Tensor& dy) {
  if (needs_grad(dy)) return sum(dy, {0});
  const raw::Contiguous values(dy);
  Tensor sums = empty({dy.shape()[1]}, dy.dtype());
  dispatch_floating(dy.dtype(), "linear", [&]<class T>() {
    kernels::sum<T>(1, dy.shape()[0], dy.shape()[1], values.data<T>(), sums.mutable_data<T>());
  });
  return sums;
}

void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_same_dtype("linear", x, weight);
  if (bias) check_same_dtype("linear", x, bias);
  if (x.ndim() < 1 || weight.ndim() != 2 || x.shape().back() != weight.shape()[1] ||
      (bias && (bias.ndim() != 1 || bias.numel() != weight.shape()[0]))) [[unlikely]]
    fail("linear: x {} with weight {}{}{}; needs x (..., in), weight (out, in), bias (out)",
         x.shape(), weight.shape(), bias ? " and bias " : "", bias ? str(bias.shape()) : "");
}

}  // namespace

// y = x w^T + b:  dx = dy w,  dw = dy^T x,  db = the sum of dy's rows, for the dy that passes the
// activation   (docs/derivations/linear.md)
static Op linear_op("linear", [](Backward& ctx) {
  const bool relu = ctx.attrs<Activation>() == Activation::relu;
  Tensor dy = relu ? relu_gradient(ctx.dy(), ctx.kept(2)) : ctx.dy();
  const bool matrix = dy.ndim() == 2;
  if (!matrix) dy = reshape(dy, matrix_shape(dy.shape()));
  if (ctx.needs(0)) {
    Tensor dx = matmul(dy, ctx.kept(1));
    ctx.set(0, matrix ? std::move(dx) : reshape(dx, ctx.input_shape(0)));
  }
  if (ctx.needs(1)) {
    Tensor x = ctx.kept(0);
    if (!matrix) x = reshape(x, matrix_shape(x.shape()));
    ctx.set(1, matmul(dy, x, true));
  }
  if (ctx.needs(2)) ctx.set(2, column_sums(dy));
});

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
  check_linear(x, weight, bias);
  const int64_t in = weight.shape()[1], out = weight.shape()[0];
  const bool matrix = x.ndim() == 2;
  const Tensor folded = matrix ? Tensor() : raw::reshape(x, matrix_shape(x.shape()));
  const Factor left(matrix ? x : folded), right(weight, true);
  Shape shape = x.shape();
  shape[shape.ndim() - 1] = out;
  Tensor y = empty(shape, x.dtype());
  const int64_t rows = left.tensor().shape()[0];
  const raw::Contiguous row(bias);
  const bool relu = activation == Activation::relu;
  dispatch_floating(x.dtype(), "linear", [&]<class T>() {
    T* values = y.mutable_data<T>();
    kernels::gemm(gemm_problem<T>(left, right, rows, out, in, pointer<T>(row.tensor()), values));
    if (relu) kernels::unary(functions::Relu{}, y.numel(), values, values);
  });
  return record(linear_op, y, {x, weight, bias},
                {keep_if(needs_grad(weight), x), keep_if(needs_grad(x), weight), keep_if(relu, y)},
                activation);
}

}  // namespace gradus
