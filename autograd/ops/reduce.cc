#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/axes_last.h>
#include <gradus/autograd/ops/detail/carried.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/reduce/reduce.h>

#include <cmath>
#include <limits>

namespace gradus {

namespace {

using Flags = std::array<bool, Shape::kMaxDims>;

Shape keep_dims(const Shape& shape, const Flags& reduced) {
  return detail::reduced_shape(shape, reduced, true);
}

Shape drop_dims(const Shape& shape, const Flags& reduced) {
  return detail::reduced_shape(shape, reduced, false);
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

/// Integers for booleans, which are counted; others as they are.
static Tensor counted(const Tensor& x) {
  return x.dtype() == DType::boolean ? raw::cast(x, DType::i64) : x;
}

Tensor sum(const Tensor& x, const Axes& axes, bool keepdim) {
  if (x.dtype() == DType::boolean) return sum(counted(x), axes, keepdim);
  const Flags reduced = axis_flags("sum", axes, x.ndim());
  const auto compute = [&](const Tensor& v) {
    return dispatch_numbers(v.dtype(), "sum", [&]<class T>() {
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
  check(is_floating(x.dtype()), "mean: needs f32 or f64, got {}; cast(x, DType::f32) first",
        name(x.dtype()));
  const int64_t n = group_size(x.shape(), axis_flags("mean", axes, x.ndim()));
  check(n > 0, "mean: of no elements, shape {} over axes {}", x.shape(), axes);
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
  if (x.dtype() == DType::boolean) return raw::cast(max(counted(x), axes, keepdim), DType::boolean);
  return dispatch_numbers(x.dtype(), "max", [&]<class T>() {
    return extremum(max_op, x, axes, keepdim,
                    [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
                      kernels::max<T>(outer, n, inner, from.data<T>(), to.mutable_data<T>(),
                                      nullptr);
                    });
  });
}

Tensor min(const Tensor& x, const Axes& axes, bool keepdim) {
  if (x.dtype() == DType::boolean) return raw::cast(min(counted(x), axes, keepdim), DType::boolean);
  return dispatch_numbers(x.dtype(), "min", [&]<class T>() {
    return extremum(min_op, x, axes, keepdim,
                    [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
                      kernels::min<T>(outer, n, inner, from.data<T>(), to.mutable_data<T>(),
                                      nullptr);
                    });
  });
}

/// Where the first of the largest, or smallest, stands.
static Tensor place_of(const char* op, bool largest, const Tensor& x, int64_t axis, bool keepdim) {
  const int i = normalize_axis(op, axis, x.ndim());
  if (x.ndim() == 0) return raw::reshape(place_of(op, largest, raw::reshape(x, {1}), 0, false), {});
  check(x.shape()[i] > 0, "{}: of no elements, axis {} of shape {}", op, axis, x.shape());
  int64_t outer = 1, inner = 1;
  for (int j = 0; j < x.ndim(); ++j)
    if (j != i) (j < i ? outer : inner) *= x.shape()[j];
  Flags reduced{};
  reduced[i] = true;
  Tensor y = empty(detail::reduced_shape(x.shape(), reduced, keepdim), DType::i64);
  if (y.numel() == 0) return y;
  const Tensor values = raw::contiguous(x);
  dispatch_numbers(x.dtype(), op, [&]<class T>() {
    Tensor extrema = empty(y.shape(), x.dtype());
    (largest ? kernels::max<T> : kernels::min<T>)(outer, x.shape()[i], inner, values.data<T>(),
                                                  extrema.mutable_data<T>(),
                                                  y.mutable_data<int64_t>());
  });
  return y;
}

static Tensor place_of(const char* op, bool largest, const Tensor& x, const Axes& axes,
                       bool keepdim) {
  const NoRecord pause;
  const Flags reduced = axis_flags(op, axes, x.ndim());
  const Tensor y = place_of(op, largest, detail::axes_last(x, reduced), -1, false);
  return keepdim ? reshape(y, keep_dims(x.shape(), reduced)) : y;
}

Tensor argmax(const Tensor& x, int64_t axis, bool keepdim) {
  return place_of("argmax", true, x, axis, keepdim);
}
Tensor argmax(const Tensor& x, const Axes& axes, bool keepdim) {
  return place_of("argmax", true, x, axes, keepdim);
}
Tensor argmin(const Tensor& x, int64_t axis, bool keepdim) {
  return place_of("argmin", false, x, axis, keepdim);
}
Tensor argmin(const Tensor& x, const Axes& axes, bool keepdim) {
  return place_of("argmin", false, x, axes, keepdim);
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

Tensor any(const Tensor& a, const Axes& axes, bool keepdim) {
  check(a.dtype() == DType::boolean, "any: needs bool, got {}", name(a.dtype()));
  return not_equal(sum(a, axes, keepdim), 0);
}
Tensor all(const Tensor& a, const Axes& axes, bool keepdim) {
  check(a.dtype() == DType::boolean, "all: needs bool, got {}", name(a.dtype()));
  return logical_not(any(logical_not(a), axes, keepdim));
}

struct ScanAttrs {
  int axis;
  bool reverse;
};

static Tensor scan(const Tensor& x, ScanAttrs attrs);

// y_i = x_0 + .. + x_i:  dx_i = dy_i + .. + dy_n-1, the sums from the other end
static Op cumsum_op("cumsum", [](Backward& ctx) {
  const ScanAttrs& attrs = ctx.attrs<ScanAttrs>();
  ctx.set(0, scan(ctx.dy(), {attrs.axis, !attrs.reverse}));
});

static Tensor scan(const Tensor& x, ScanAttrs attrs) {
  int64_t outer = 1, inner = 1;
  for (int j = 0; j < x.ndim(); ++j)
    if (j != attrs.axis) (j < attrs.axis ? outer : inner) *= x.shape()[j];
  const raw::Contiguous values(x);
  Tensor y = empty_like(x);
  dispatch_numbers(x.dtype(), "cumsum", [&]<class T>() {
    kernels::cumsum<T>(outer, x.shape()[attrs.axis], inner, attrs.reverse, values.data<T>(),
                       y.mutable_data<T>());
  });
  return record(cumsum_op, std::move(y), {x}, {}, attrs);
}

Tensor cumsum(const Tensor& x, int64_t axis) {
  const int i = normalize_axis("cumsum", axis, x.ndim());
  if (x.ndim() == 0) return reshape(cumsum(reshape(x, {1}), 0), {});
  return scan(counted(x), {i, false});
}

namespace {

/// The product along the last axis, of halves and their halves: every derivative is one of
/// products, which is right where factors are 0.
Tensor product_of_last(Tensor x) {
  Tensor odd;  // the factors that were left over
  while (x.shape().back() > 1) {
    const int64_t half = x.shape().back() / 2;
    if (x.shape().back() % 2 != 0) {
      const Tensor last = slice(x, -1, 2 * half, 2 * half + 1);
      odd = odd ? mul(odd, last) : last;
    }
    x = mul(slice(x, -1, 0, half), slice(x, -1, half, 2 * half));
  }
  return odd ? mul(x, odd) : x;
}

}  // namespace

Tensor prod(const Tensor& x, const Axes& axes, bool keepdim) {
  const Flags reduced = axis_flags("prod", axes, x.ndim());
  const Shape shape = detail::reduced_shape(x.shape(), reduced, keepdim);
  if (group_size(x.shape(), reduced) == 0)
    return ones(shape, is_floating(x.dtype()) ? x.dtype() : DType::i64);
  if (!is_floating(x.dtype())) {
    const NoRecord pause;
    const Tensor y =
        reduce_runs(counted(x), reduced,
                    [](int64_t outer, int64_t n, int64_t inner, const Tensor& from, Tensor& to) {
                      kernels::product_of_integers(outer, n, inner, from.data<int64_t>(),
                                                   to.mutable_data<int64_t>());
                    });
    return reshape(y, shape);
  }
  // In f64, since products of some factors may leave f32 where that of all does not.
  const Tensor wide = cast(detail::axes_last(x, reduced), DType::f64);
  return reshape(cast(product_of_last(wide), x.dtype()), shape);
}

namespace {

/// The root of x, with gradient 0 where x is 0.
Tensor root(const Tensor& x) {
  const Tensor dead = equal(x, 0);
  return any(dead) ? masked_fill(sqrt(masked_fill(x, dead, 1)), dead, 0) : sqrt(x);
}

/// Whether f32 has held squares, of which these are the sums' roots: none overflowed, and what
/// underflowed is nothing beside them.
bool held_squares(const Tensor& roots) {
  const NoRecord pause;
  return all_finite(roots) && (roots.numel() == 0 || min(roots).item() > 0x1p-50);
}

}  // namespace

Tensor stddev(const Tensor& x, const Axes& axes, bool keepdim, int64_t correction) {
  return detail::carried([&](const Tensor& v) { return root(var(v, axes, keepdim, correction)); },
                         held_squares, x);
}

namespace {

/// The largest |x| along the axes as a constant, 1 where it is 0 or not finite.
Tensor largest_size(const Tensor& x, const Axes& axes) {
  const NoRecord pause;
  const Tensor y = max(abs(x), axes, true);
  return where(logical_and(greater(y, 0), less(y, std::numeric_limits<double>::infinity())), y, 1);
}

/// (sum |x|^p)^(1/p) with gradient 0 where x, or all of it, is 0.
Tensor power_norm(const Tensor& x, double p, const Axes& axes) {
  if (p == 2) return root(sum(square(x), axes, true));
  const Tensor none = equal(x, 0);
  const Tensor powers = masked_fill(pow(abs(masked_fill(x, none, 1)), p), none, 0);
  const Tensor total = sum(powers, axes, true), dead = equal(total, 0);
  return masked_fill(pow(masked_fill(total, dead, 1), 1 / p), dead, 0);
}

}  // namespace

Tensor norm(const Tensor& x, double p, const Axes& axes, bool keepdim) {
  check(is_floating(x.dtype()), "norm: needs f32 or f64, got {}; cast(x, DType::f32) first",
        name(x.dtype()));
  check(p >= 0, "norm: p is {}; it is 0, where elements other than 0 are counted, or more", p);
  const Flags reduced = axis_flags("norm", axes, x.ndim());
  const Shape shape = detail::reduced_shape(x.shape(), reduced, keepdim);
  if (x.numel() == 0 && group_size(x.shape(), reduced) == 0) return zeros(shape, x.dtype());
  if (std::isinf(p)) return max(abs(x), axes, keepdim);
  if (p == 1) return sum(abs(x), axes, keepdim);
  if (p == 0) return sum(cast(not_equal(x, 0), x.dtype()), axes, keepdim);
  if (p == 2)
    if (const Tensor y = power_norm(x, p, axes); held_squares(y)) return reshape(y, shape);
  const Tensor wide = cast(x, DType::f64), size = largest_size(wide, axes);
  return reshape(cast(power_norm(wide / size, p, axes) * size, x.dtype()), shape);
}

}  // namespace gradus
