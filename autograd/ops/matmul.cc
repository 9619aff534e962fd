#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/detail/factor.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

namespace gradus {

namespace {

struct MatmulAttrs {
  bool transpose_a, transpose_b;
};

struct Sizes {
  int64_t m, n, k;
};

Sizes matmul_sizes(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_same_dtype("matmul", a, b);
  const int64_t* end_a = a.shape().end();
  const int64_t* end_b = b.shape().end();
  const Sizes s{end_a[transpose_a ? -1 : -2], end_b[transpose_b ? -2 : -1],
                end_a[transpose_a ? -2 : -1]};
  const int64_t k = end_b[transpose_b ? -1 : -2];
  check(s.k == k, "matmul: {}{} times {}{}: the inner sizes {} and {} differ", a.shape(),
        transpose_a ? " transposed" : "", b.shape(), transpose_b ? " transposed" : "", s.k, k);
  return s;
}

int64_t batch_stride(const Tensor& x, int axis) {
  return axis < 0 || x.shape()[axis] == 1 ? 0 : x.strides()[axis];
}

/// y's leading axes, which a and b broadcast to.
kernels::Loops<3> batch_loops(const Tensor& a, const Tensor& b, const Tensor& y) {
  kernels::Loops<3> loops;
  for (int i = 0; i < y.ndim() - 2; ++i)
    loops.push(y.shape()[i], {batch_stride(a, i - y.ndim() + a.ndim()),
                              batch_stride(b, i - y.ndim() + b.ndim()), y.strides()[i]});
  return loops;
}

Shape result_shape(const Tensor& a, const Tensor& b, const Sizes& s) {
  const auto leading = [](const Tensor& x) {
    return Shape(std::span(x.shape().begin(), x.shape().end() - 2));
  };
  Shape shape = broadcast_shapes("matmul", leading(a), leading(b));
  shape.push_back(s.m);
  shape.push_back(s.n);
  return shape;
}

/// The gradient with respect to b: op(a)^T dy or, where b is transposed, dy^T op(a), summed over
/// the products that b takes part in. Where b is one matrix they are rows of one product.
Tensor right_gradient(const Tensor& a, const Tensor& dy, bool transpose_a, bool transpose_b,
                      const Shape& shape) {
  if (shape.ndim() == 2 && a.ndim() > 2 && !transpose_a)
    return right_gradient(reshape(a, matrix_shape(a.shape())),
                          reshape(dy, matrix_shape(dy.shape())), false, transpose_b, shape);
  return sum_to(transpose_b ? matmul(dy, a, true, transpose_a) : matmul(a, dy, !transpose_a, false),
                shape);
}

}  // namespace

// y = op(a) op(b):  d op(a) = dy op(b)^T,  d op(b) = op(a)^T dy  (docs/derivations/linear.md)
static Op matmul_op("matmul", [](Backward& ctx) {
  const auto [ta, tb] = ctx.attrs<MatmulAttrs>();
  const Tensor& dy = ctx.dy();
  if (ctx.needs(0)) {
    const Tensor b = ctx.kept(1);
    ctx.set(0,
            sum_to(ta ? matmul(b, dy, tb, true) : matmul(dy, b, false, !tb), ctx.input_shape(0)));
  }
  if (ctx.needs(1)) ctx.set(1, right_gradient(ctx.kept(0), dy, ta, tb, ctx.input_shape(1)));
});

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const bool row = a.ndim() == 1, column = b.ndim() == 1;
  if (row || column || a.ndim() == 0 || b.ndim() == 0) [[unlikely]] {
    check(a.ndim() > 0 && b.ndim() > 0,
          "matmul: {} times {}: a scalar is no matrix; multiply with *", a.shape(), b.shape());
    check(!(row && transpose_a) && !(column && transpose_b),
          "matmul: {} times {}: a vector is not transposed", a.shape(), b.shape());
    const Tensor y =
        matmul(row ? unsqueeze(a, 0) : a, column ? unsqueeze(b, 1) : b, transpose_a, transpose_b);
    const Tensor rows = column ? squeeze(y, -1) : y;
    return row ? squeeze(rows, column ? -1 : -2) : rows;
  }
  const Sizes s = matmul_sizes(a, b, transpose_a, transpose_b);
  const bool single = a.ndim() == 2 && b.ndim() == 2;
  Tensor y = empty(single ? Shape{s.m, s.n} : result_shape(a, b, s), a.dtype());
  const Factor left(a, transpose_a), right(b, transpose_b);
  dispatch_floating(a.dtype(), "matmul", [&]<class T>() {
    const auto g = gemm_problem<T>(left, right, s.m, s.n, s.k, nullptr, y.mutable_data<T>());
    if (single) return kernels::gemm(g);
    kernels::gemm_batched(g, batch_loops(left.tensor(), right.tensor(), y));
  });
  if (!needs_grad(a) && !needs_grad(b)) return y;
  return record(matmul_op, std::move(y), {a, b},
                {keep_if(needs_grad(b), a), keep_if(needs_grad(a), b)},
                MatmulAttrs{transpose_a, transpose_b});
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check(a.ndim() == 1 && b.ndim() == 1, "dot: needs vectors, got {} and {}", a.shape(), b.shape());
  return matmul(a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  check(a.ndim() == 1 && b.ndim() == 1, "outer: needs vectors, got {} and {}", a.shape(),
        b.shape());
  return mul(unsqueeze(a, 1), b);
}

}  // namespace gradus
