#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/carried.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/reduce/reduce.h>

namespace gradus {

namespace {

using Flags = std::array<bool, Shape::kMaxDims>;

Shape keep_dims(const Shape& shape, const Flags& reduced) {
  Shape kept = shape;
  for (int i = 0; i < shape.ndim(); ++i)
    if (reduced[i]) kept[i] = 1;
  return kept;
}

Shape drop_dims(const Shape& shape, const Flags& reduced) {
  Shape kept;
  for (int i = 0; i < shape.ndim(); ++i)
    if (!reduced[i]) kept.push_back(shape[i]);
  return kept;
}

int64_t group_size(const Shape& shape, const Flags& reduced) {
  int64_t size = 1;
  for (int i = 0; i < shape.ndim(); ++i)
    if (reduced[i]) size *= shape[i];
  return size;
}

/// Calls kernel(outer, n, inner, source, result) for each run of neighbouring reduced axes, the
/// last run first; the result has size 1 along them.
template <class Kernel>
Tensor reduce_runs(const Tensor& x, const Flags& reduced, Kernel kernel) {
  Tensor source = raw::contiguous(x);
  Shape shape = x.shape();
  for (int end = shape.ndim(); end > 0;) {
    if (!reduced[end - 1]) {
      --end;
      continue;
    }
    int begin = end;
    while (begin > 0 && reduced[begin - 1]) --begin;
    int64_t outer = 1, n = 1, inner = 1;
    for (int i = 0; i < shape.ndim(); ++i) (i < begin ? outer : i < end ? n : inner) *= shape[i];
    for (int i = begin; i < end; ++i) shape[i] = 1;
    Tensor result = empty(shape, x.dtype());
    if (result.numel() > 0) kernel(outer, n, inner, source, result);
    source = std::move(result);
    end = begin;
  }
  return source.is(x) ? raw::clone(x) : source;
}

struct ReduceAttrs {
  Flags reduced;
  int64_t count;  // var: n - correction
};

/// A result, or the gradient of one, with its reduced axes back as size 1.
Tensor with_dims(const Tensor& y, const Shape& x_shape, const Flags& reduced) {
  return reshape(y, keep_dims(x_shape, reduced));
}

}  // namespace

// y = sum x:  dx = dy, repeated
static Op sum_op("sum", [](Backward& ctx) {
  const Shape shape = ctx.input_shape(0);
  ctx.set(0, expand(with_dims(ctx.dy(), shape, ctx.attrs<ReduceAttrs>().reduced), shape));
});

Tensor sum(const Tensor& x, const Axes& axes, bool keepdim) {
  const Flags reduced = axis_flags("sum", axes, x.ndim());
  const auto compute = [&](const Tensor& v) {
    return dispatch_floating(v.dtype(), "sum", [&]<class T>() {
      return reduce_runs(
          v, reduced, [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
            kernels::sum(outer, n, inner, from.data<T>(), to.mutable_data<T>());
          });
    });
  };
  Tensor y;
  {
    const NoRecord pause;
    y = detail::carried_if_finite(compute, x);
  }
  if (!keepdim) y = raw::reshape(y, drop_dims(x.shape(), reduced));
  return record(sum_op, std::move(y), {x}, {}, ReduceAttrs{reduced, 0});
}

Tensor mean(const Tensor& x, const Axes& axes, bool keepdim) {
  const int64_t n = group_size(x.shape(), axis_flags("mean", axes, x.ndim()));
  check(n > 0, "mean: of no elements, shape {} over axes {}", x.shape(), axes);
  check(is_floating(x.dtype()), "mean: needs f32 or f64, got {}; cast(x, DType::f32) first",
        name(x.dtype()));
  return detail::carried_if_finite(
      [&](const Tensor& v) { return mul(sum(v, axes, keepdim), 1.0 / static_cast<double>(n)); }, x);
}

namespace {

Tensor deviations(const Tensor& x, const Axes& axes) { return x - mean(x, axes, true); }

}  // namespace

// y = sum (x - m)^2 / count, m the mean:  dx = 2 (x - m) dy / count, since sum (x - m) = 0
static Op var_op("var", [](Backward& ctx) {
  const Flags& reduced = ctx.attrs<ReduceAttrs>().reduced;
  const int64_t count = ctx.attrs<ReduceAttrs>().count;
  const Tensor x = ctx.kept(0);
  Axes axes;
  for (int i = 0; i < x.ndim(); ++i)
    if (reduced[i]) axes.push_back(i);
  const auto carries = [&](const Tensor&) {
    const NoRecord pause;
    const Tensor y = with_dims(ctx.kept(1), x.shape(), reduced);
    return detail::carries_deviations(mean(x, axes, true), y, kernels::kNormReach);
  };
  const Tensor centred =
      axes.ndim() == 0
          ? mul(x, 0)
          : detail::carried([&](const Tensor& v) { return deviations(v, axes); }, carries, x);
  const Tensor dy = with_dims(ctx.dy(), x.shape(), reduced);
  ctx.set(0, centred * (dy * (2.0 / static_cast<double>(count))));
});

Tensor var(const Tensor& x, const Axes& axes, bool keepdim, int64_t correction) {
  const Flags reduced = axis_flags("var", axes, x.ndim());
  const int64_t size = group_size(x.shape(), reduced);
  check(correction >= 0 && correction < size,
        "var: groups of {} elements with correction {}, shape {} over axes {}", size, correction,
        x.shape(), axes);
  const int64_t count = size - correction;
  Tensor y;
  {
    const NoRecord pause;
    const auto compute = [&](const Tensor& v) {
      return mul(sum(square(deviations(v, axes)), axes, keepdim), 1.0 / static_cast<double>(count));
    };
    const auto carries = [&](const Tensor& v) {
      return detail::carries_deviations(mean(x, axes, keepdim), v, 0x1p12);
    };
    y = detail::carried(compute, carries, x);
  }
  return record(var_op, y, {x}, {x, y}, ReduceAttrs{reduced, count});
}

// y = max x:  dx = dy where x = y, shared by the equal ones; where y is NaN by those that are
static void extremum_backward(Backward& ctx) {
  const Tensor x = ctx.kept(0);
  const Flags& reduced = ctx.attrs<ReduceAttrs>().reduced;
  const Tensor dy = with_dims(ctx.dy(), x.shape(), reduced);
  const Tensor y = raw::reshape(ctx.kept(1), keep_dims(x.shape(), reduced));
  Tensor chosen = equal(x, y);
  if (!all_finite(y)) chosen = logical_or(chosen, logical_and(not_equal(y, y), not_equal(x, x)));
  ctx.set(0, where(chosen, dy / sum_to(cast(chosen, x.dtype()), y.shape()), 0));
}

static Op max_op("max", extremum_backward);
static Op min_op("min", extremum_backward);

template <class Kernel>
static Tensor extremum(const Op& op, const Tensor& x, const Axes& axes, bool keepdim,
                       Kernel kernel) {
  const Flags reduced = axis_flags(op.name, axes, x.ndim());
  check(group_size(x.shape(), reduced) > 0, "{}: of no elements, shape {} over axes {}", op.name,
        x.shape(), axes);
  Tensor y = reduce_runs(x, reduced, kernel);
  if (!keepdim) y = raw::reshape(y, drop_dims(x.shape(), reduced));
  return record(op, y, {x}, {x, y}, ReduceAttrs{reduced, 0});
}

Tensor max(const Tensor& x, const Axes& axes, bool keepdim) {
  return dispatch_floating(x.dtype(), "max", [&]<class T>() {
    return extremum(max_op, x, axes, keepdim,
                    [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
                      kernels::max<T>(outer, n, inner, from.data<T>(), to.mutable_data<T>(),
                                      nullptr);
                    });
  });
}

Tensor min(const Tensor& x, const Axes& axes, bool keepdim) {
  return dispatch_floating(x.dtype(), "min", [&]<class T>() {
    return extremum(min_op, x, axes, keepdim,
                    [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
                      kernels::min<T>(outer, n, inner, from.data<T>(), to.mutable_data<T>(),
                                      nullptr);
                    });
  });
}

Tensor argmax(const Tensor& x, int64_t axis, bool keepdim) {
  const int i = normalize_axis("argmax", axis, x.ndim());
  if (x.ndim() == 0) return argmax(x, Axes{}, keepdim);
  check(x.shape()[i] > 0, "argmax: of no elements, axis {} of shape {}", axis, x.shape());
  int64_t outer = 1, inner = 1;
  for (int j = 0; j < x.ndim(); ++j)
    if (j != i) (j < i ? outer : inner) *= x.shape()[j];
  Flags reduced{};
  reduced[i] = true;
  Tensor y =
      empty(keepdim ? keep_dims(x.shape(), reduced) : drop_dims(x.shape(), reduced), DType::i64);
  if (y.numel() == 0) return y;
  const Tensor values = raw::contiguous(x);
  dispatch_floating(x.dtype(), "argmax", [&]<class T>() {
    Tensor largest = empty(y.shape(), x.dtype());
    kernels::max<T>(outer, x.shape()[i], inner, values.data<T>(), largest.mutable_data<T>(),
                    y.mutable_data<int64_t>());
  });
  return y;
}

Tensor argmax(const Tensor& x, const Axes& axes, bool keepdim) {
  const NoRecord pause;
  const Flags reduced = axis_flags("argmax", axes, x.ndim());
  Axes order;
  for (int i = 0; i < x.ndim(); ++i)
    if (!reduced[i]) order.push_back(i);
  Shape shape = drop_dims(x.shape(), reduced);
  for (int i = 0; i < x.ndim(); ++i)
    if (reduced[i]) order.push_back(i);
  shape.push_back(group_size(x.shape(), reduced));
  const Tensor y = argmax(reshape(permute(x, order), shape), -1);
  return keepdim ? reshape(y, keep_dims(x.shape(), reduced)) : y;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check(broadcast_shapes("sum_to", x.shape(), shape) == x.shape(),
        "sum_to: shape {} does not broadcast to x {}", shape, x.shape());
  const int leading = x.ndim() - shape.ndim();
  Axes axes;
  for (int i = 0; i < x.ndim(); ++i) {
    if (i < leading || (shape[i - leading] == 1 && x.shape()[i] != 1)) axes.push_back(i);
  }
  return reshape(sum(x, axes, true), shape);
}

}  // namespace gradus
