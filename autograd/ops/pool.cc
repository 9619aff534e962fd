#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/index/index.h>
#include <gradus/kernels/pooling/pooling.h>
#include <gradus/kernels/runtime/windows.h>

namespace gradus {

using kernels::Pool2dShape;

namespace {

struct PlaneMap {
  Shape x_shape, y_shape;
};

struct AverageAttrs {
  Pool2dShape pool;
  Shape x_shape, y_shape;
};

int64_t planes(const Shape& shape) { return shape[0] * shape[1]; }

/// What max_pool2d's places index: each plane of x.
kernels::IndexedAxis places_in_planes(const PlaneMap& map) {
  const Shape &x = map.x_shape, &y = map.y_shape;
  return {planes(x), x[2] * x[3], y[2] * y[3], 1};
}

Pool2dShape pool_shape(const char* op, const Tensor& x, Pair kernel, const Pool2dOptions& o) {
  check(x.ndim() == 4, "{}: x must be (N, C, H, W), is {}", op, x.shape());
  const Pair stride = o.stride.value_or(kernel);
  const Pool2dShape s{x.size(0) * x.size(1),
                      x.size(2),
                      x.size(3),
                      kernel.h,
                      kernel.w,
                      stride.h,
                      stride.w,
                      o.padding.h,
                      o.padding.w,
                      o.dilation.h,
                      o.dilation.w,
                      o.ceil_mode,
                      o.count_include_pad};
  kernels::check_pool2d(op, s);
  return s;
}

Shape pooled_shape(const Tensor& x, const Pool2dShape& s) {
  return {x.size(0), x.size(1), s.output_height(), s.output_width()};
}

/// A linear map of planes, as kernel(source, result).
template <class Kernel>
Tensor map_planes(const char* op, const Tensor& x, const Shape& shape, Kernel kernel) {
  const Tensor source = raw::contiguous(x);
  Tensor y = empty(shape, x.dtype());
  dispatch_floating(x.dtype(), op,
                    [&]<class T>() { kernel(source.data<T>(), y.mutable_data<T>()); });
  return y;
}

Tensor scatter(const Tensor& dy, const Tensor& indices, const PlaneMap& map);
Tensor gather(const Tensor& x, const Tensor& indices, const PlaneMap& map);
Tensor average(const Tensor& x, const AverageAttrs& attrs);
Tensor spread(const Tensor& dy, const AverageAttrs& attrs);
Tensor adaptive(const Tensor& x, const PlaneMap& map);
Tensor adaptive_spread(const Tensor& dy, const PlaneMap& map);

}  // namespace

// y = x at each window's largest place:  dx = dy put there
static Op max_pool2d_op("max_pool2d", [](Backward& ctx) {
  ctx.set(0, scatter(ctx.dy(), ctx.kept(0), ctx.attrs<PlaneMap>()));
});

// The linear map near x, and its adjoint; each is the other's gradient.
static Op pool_gather_op("pool_gather", [](Backward& ctx) {
  ctx.set(0, scatter(ctx.dy(), ctx.kept(0), ctx.attrs<PlaneMap>()));
});
static Op pool_scatter_op("pool_scatter", [](Backward& ctx) {
  ctx.set(0, gather(ctx.dy(), ctx.kept(0), ctx.attrs<PlaneMap>()));
});

static Op avg_pool2d_op("avg_pool2d", [](Backward& ctx) {
  ctx.set(0, spread(ctx.dy(), ctx.attrs<AverageAttrs>()));
});
static Op avg_pool2d_backward_op("avg_pool2d_backward", [](Backward& ctx) {
  ctx.set(0, average(ctx.dy(), ctx.attrs<AverageAttrs>()));
});

static Op adaptive_avg_pool2d_op("adaptive_avg_pool2d", [](Backward& ctx) {
  ctx.set(0, adaptive_spread(ctx.dy(), ctx.attrs<PlaneMap>()));
});
static Op adaptive_avg_pool2d_backward_op("adaptive_avg_pool2d_backward", [](Backward& ctx) {
  ctx.set(0, adaptive(ctx.dy(), ctx.attrs<PlaneMap>()));
});

namespace {

Tensor scatter(const Tensor& dy, const Tensor& indices, const PlaneMap& map) {
  Tensor dx = map_planes("pool_scatter", dy, map.x_shape, [&](auto* from, auto* to) {
    kernels::scatter(places_in_planes(map), indices.data<int64_t>(), from, to);
  });
  return record(pool_scatter_op, std::move(dx), {dy}, {indices}, map);
}

Tensor gather(const Tensor& x, const Tensor& indices, const PlaneMap& map) {
  Tensor y = map_planes("pool_gather", x, map.y_shape, [&](auto* from, auto* to) {
    kernels::gather(places_in_planes(map), indices.data<int64_t>(), from, to);
  });
  return record(pool_gather_op, std::move(y), {x}, {indices}, map);
}

Tensor average(const Tensor& x, const AverageAttrs& attrs) {
  Tensor y = map_planes("avg_pool2d", x, attrs.y_shape,
                        [&](auto* from, auto* to) { kernels::avg_pool2d(attrs.pool, from, to); });
  return record(avg_pool2d_op, std::move(y), {x}, {}, attrs);
}

Tensor spread(const Tensor& dy, const AverageAttrs& attrs) {
  Tensor dx = map_planes("avg_pool2d_backward", dy, attrs.x_shape, [&](auto* from, auto* to) {
    kernels::avg_pool2d_backward(attrs.pool, from, to);
  });
  return record(avg_pool2d_backward_op, std::move(dx), {dy}, {}, attrs);
}

Tensor adaptive(const Tensor& x, const PlaneMap& map) {
  Tensor y = map_planes("adaptive_avg_pool2d", x, map.y_shape, [&](auto* from, auto* to) {
    kernels::adaptive_avg_pool2d(planes(map.x_shape), map.x_shape[2], map.x_shape[3],
                                 map.y_shape[2], map.y_shape[3], from, to);
  });
  return record(adaptive_avg_pool2d_op, std::move(y), {x}, {}, map);
}

Tensor adaptive_spread(const Tensor& dy, const PlaneMap& map) {
  const double height = static_cast<double>(map.x_shape[2]),
               width = static_cast<double>(map.x_shape[3]);
  // The mean of a plane sends the same to all of it, which a view can show.
  if (map.y_shape[2] * map.y_shape[3] == 1) return expand(div(dy, height * width), map.x_shape);
  Tensor dx =
      map_planes("adaptive_avg_pool2d_backward", dy, map.x_shape, [&](auto* from, auto* to) {
        kernels::adaptive_avg_pool2d_backward(planes(map.x_shape), map.x_shape[2], map.x_shape[3],
                                              map.y_shape[2], map.y_shape[3], from, to);
      });
  return record(adaptive_avg_pool2d_backward_op, std::move(dx), {dy}, {}, map);
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options) {
  const Pool2dShape s = pool_shape("max_pool2d", x, kernel, options);
  const PlaneMap map{x.shape(), pooled_shape(x, s)};
  Tensor indices = empty(map.y_shape, DType::i64);
  Tensor y = map_planes("max_pool2d", x, map.y_shape, [&](auto* from, auto* to) {
    kernels::max_pool2d(s, from, to, indices.mutable_data<int64_t>());
  });
  return record(max_pool2d_op, std::move(y), {x}, {indices}, map);
}

Tensor avg_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options) {
  check(options.dilation.h == 1 && options.dilation.w == 1,
        "avg_pool2d: has no dilation, got {}x{}", options.dilation.h, options.dilation.w);
  const Pool2dShape s = pool_shape("avg_pool2d", x, kernel, options);
  return average(x, {s, x.shape(), pooled_shape(x, s)});
}

Tensor adaptive_avg_pool2d(const Tensor& x, Pair output) {
  check(x.ndim() == 4, "adaptive_avg_pool2d: x {} is not (N, C, H, W)", x.shape());
  check(x.size(2) > 0 && x.size(3) > 0, "adaptive_avg_pool2d: x {} has planes without pixels",
        x.shape());
  check(output.h > 0 && output.w > 0,
        "adaptive_avg_pool2d: {} to {}x{}: the output's height and width must be positive",
        x.shape(), output.h, output.w);
  check(kernels::within_reach({x.size(2), x.size(3), output.h, output.w}),
        "adaptive_avg_pool2d: x {} to {}x{} pixels is too large", x.shape(), output.h, output.w);
  return adaptive(x, {x.shape(), {x.size(0), x.size(1), output.h, output.w}});
}

}  // namespace gradus
