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
  check(a.ndim() >= 2 && b.ndim() >= 2,
        "matmul: needs at least 2 dimensions, got {} and {}; unsqueeze a vector", a.shape(),
        b.shape());
  const int64_t* end_a = a.shape().end();
  const int64_t* end_b = b.shape().end();
  const Sizes s{end_a[transpose_a ? -1 : -2], end_b[transpose_b ? -2 : -1],
                end_a[transpose_a ? -2 : -1]};
  const int64_t k = end_b[transpose_b ? -1 : -2];
  check(s.k == k, "matmul: {}{} times {}{}: the inner sizes {} and {} differ", a.shape(),
        transpose_a ? " transposed" : "", b.shape(), transpose_b ? " transposed" : "", s.k, k);
  return s;
}

/// Products side by side: how many, and how far apart their matrices lie.
struct BatchAxis {
  int64_t size, a, b, y;
};

struct BatchAxes {
  BatchAxis axes[Shape::kMaxDims];
  int count = 0;

  /// Puts an axis outside of those that are there, or joins it with the outermost.
  void add(const BatchAxis& axis) {
    if (axis.size == 1) return;
    if (count > 0) {
      BatchAxis& last = axes[count - 1];
      if (axis.a == last.a * last.size && axis.b == last.b * last.size) {
        last.size *= axis.size;
        return;
      }
    }
    axes[count++] = axis;
  }
};

int64_t batch_stride(const Tensor& x, int axis) {
  return axis < 0 || x.shape()[axis] == 1 ? 0 : x.strides()[axis];
}

template <class T>
void batched(const Factor& a, const Factor& b, Sizes s, Tensor& y) {
  BatchAxes batch;
  int64_t stride = s.m * s.n;
  for (int i = y.ndim() - 3; i >= 0; --i) {
    batch.add({y.shape()[i], batch_stride(a.tensor(), i - y.ndim() + a.tensor().ndim()),
               batch_stride(b.tensor(), i - y.ndim() + b.tensor().ndim()), stride});
    stride *= y.shape()[i];
  }
  BatchAxis* const axes = batch.axes;
  if (batch.count > 0 && axes[0].b == 0 && axes[0].a == s.m * a.ld() &&
      a.transpose() == kernels::Transpose::no) {  // one b for all rows
    s.m *= axes[0].size;
    std::copy(axes + 1, axes + batch.count, axes);
    --batch.count;
  }
  BatchAxis spread{1, 0, 0, 0};  // over the threads: the largest
  if (batch.count > 0) {
    BatchAxis* largest = std::max_element(
        axes, axes + batch.count, [](auto& one, auto& other) { return one.size < other.size; });
    spread = *largest;
    std::copy(largest + 1, axes + batch.count, largest);
    --batch.count;
  }
  int64_t others = 1;
  for (int i = 0; i < batch.count; ++i) others *= axes[i].size;
  const T* pa = a.tensor().data<T>();
  const T* pb = b.tensor().data<T>();
  T* py = y.mutable_data<T>();
  for (int64_t k = 0; k < others; ++k) {
    int64_t rest = k, at_a = 0, at_b = 0, at_y = 0;
    for (int i = 0; i < batch.count; ++i) {
      const int64_t index = rest % axes[i].size;
      rest /= axes[i].size;
      at_a += index * axes[i].a;
      at_b += index * axes[i].b;
      at_y += index * axes[i].y;
    }
    kernels::gemm_batched<T>({a.transpose(), b.transpose(), s.m, s.n, s.k, T(1), pa + at_a, a.ld(),
                              pb + at_b, b.ld(), T(0), py + at_y, std::max<int64_t>(1, s.n)},
                             spread.a, spread.b, spread.y, spread.size);
  }
}

Shape batched_shape(const Tensor& a, const Tensor& b, const Sizes& s) {
  const auto leading = [](const Tensor& x) {
    return Shape(std::span(x.shape().begin(), x.shape().end() - 2));
  };
  Shape shape = broadcast_shapes("matmul", leading(a), leading(b));
  shape.push_back(s.m);
  shape.push_back(s.n);
  return shape;
}

Tensor product(const Tensor& a, const Tensor& b, const Sizes& s, bool transpose_a,
               bool transpose_b) {
  Tensor y = empty({s.m, s.n}, a.dtype());
  const Factor left(a, transpose_a), right(b, transpose_b);
  dispatch_floating(a.dtype(), "matmul", [&]<class T>() {
    multiply<T>(left, right, s.m, s.n, s.k, nullptr, y.mutable_data<T>());
  });
  return y;
}

Tensor batched_product(const Tensor& a, const Tensor& b, const Sizes& s, bool transpose_a,
                       bool transpose_b) {
  Tensor y = empty(batched_shape(a, b, s), a.dtype());
  const Factor left(a, transpose_a), right(b, transpose_b);
  dispatch_floating(a.dtype(), "matmul", [&]<class T>() {
    if (y.numel() > 0) batched<T>(left, right, s, y);
  });
  return y;
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
  const Sizes s = matmul_sizes(a, b, transpose_a, transpose_b);
  const bool single = a.ndim() == 2 && b.ndim() == 2;
  Tensor y = single ? product(a, b, s, transpose_a, transpose_b)
                    : batched_product(a, b, s, transpose_a, transpose_b);
  if (!needs_grad(a) && !needs_grad(b)) return y;
  return record(matmul_op, std::move(y), {a, b},
                {keep_if(needs_grad(b), a), keep_if(needs_grad(a), b)},
                MatmulAttrs{transpose_a, transpose_b});
}

}  // namespace gradus
