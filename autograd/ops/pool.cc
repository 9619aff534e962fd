#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/detail/unbatched.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/index/index.h>
#include <gradus/kernels/pooling/pooling.h>
#include <gradus/kernels/runtime/windows.h>
#include <gradus/tensor/detail/indices.h>

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
  check(x.ndim() == 4, "{}: x must be (N, C, H, W) or (C, H, W), is {}", op, x.shape());
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

/// x: (N, C, H, W) for each of these
MaxPool2dResult max_pooled(const char* op, const Tensor& x, Pair kernel,
                           const Pool2dOptions& options) {
  const Pool2dShape s = pool_shape(op, x, kernel, options);
  const PlaneMap map{x.shape(), pooled_shape(x, s)};
  Tensor indices = empty(map.y_shape, DType::i64);
  Tensor y = map_planes(op, x, map.y_shape, [&](auto* from, auto* to) {
    kernels::max_pool2d(s, from, to, indices.mutable_data<int64_t>());
  });
  return {record(max_pool2d_op, std::move(y), {x}, {indices}, map), indices};
}

Tensor averaged(const char* op, const Tensor& x, Pair kernel, const Pool2dOptions& options) {
  check(options.dilation.h == 1 && options.dilation.w == 1, "{}: has no dilation, got {}", op,
        str(options.dilation));
  const Pool2dShape s = pool_shape(op, x, kernel, options);
  return average(x, {s, x.shape(), pooled_shape(x, s)});
}

Tensor averaged_to(const char* op, const Tensor& x, Pair output) {
  check(x.ndim() == 4, "{}: x {} is not (N, C, H, W)", op, x.shape());
  check(x.size(2) > 0 && x.size(3) > 0, "{}: x {} has planes without pixels", op, x.shape());
  check(output.h > 0 && output.w > 0,
        "{}: {} to {}x{}: the output's height and width must be positive", op, x.shape(), output.h,
        output.w);
  check(kernels::within_reach({x.size(2), x.size(3), output.h, output.w}),
        "{}: x {} to {}x{} pixels is too large", op, x.shape(), output.h, output.w);
  return adaptive(x, {x.shape(), {x.size(0), x.size(1), output.h, output.w}});
}

/// How large the image was that was pooled to `size`.
int64_t unpooled(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  return (size - 1) * stride - 2 * padding + kernel;
}

/// f of the one row that (N, C, L) or (C, L) is.
template <class F>
Tensor along_rows(const char* op, const Tensor& x, F f) {
  check(x.ndim() == 2 || x.ndim() == 3, "{}: x must be (N, C, L) or (C, L), is {}", op, x.shape());
  return squeeze(detail::batched(unsqueeze(x, -2), 4, f), -2);
}

Pool2dOptions of_rows(int64_t kernel, const Pool1dOptions& o) {
  return {.stride = Pair(1, o.stride.value_or(kernel)),
          .padding = {0, o.padding},
          .dilation = {1, o.dilation},
          .ceil_mode = o.ceil_mode,
          .count_include_pad = o.count_include_pad};
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options) {
  return detail::batched(x, 4, [&](const Tensor& images) {
    return max_pooled("max_pool2d", images, kernel, options).y;
  });
}

MaxPool2dResult max_pool2d_with_indices(const Tensor& x, Pair kernel,
                                        const Pool2dOptions& options) {
  Tensor indices;
  const Tensor y = detail::batched(x, 4, [&](const Tensor& images) {
    const MaxPool2dResult result = max_pooled("max_pool2d_with_indices", images, kernel, options);
    indices = result.indices;
    return result.y;
  });
  return {y, raw::reshape(indices, y.shape())};
}

Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Pair kernel,
                    const MaxUnpool2dOptions& options) {
  const char* op = "max_unpool2d";
  const Pair stride = options.stride.value_or(kernel), &padding = options.padding;
  check((x.ndim() == 4 || x.ndim() == 3) && indices.shape() == x.shape(),
        "{}: x {} and indices {} must be (N, C, H, W) or (C, H, W), both", op, x.shape(),
        indices.shape());
  const int64_t h = x.size(-2), w = x.size(-1);
  check(kernel.h > 0 && kernel.w > 0 && stride.h > 0 && stride.w > 0 && padding.h >= 0 &&
            padding.w >= 0 &&
            kernels::within_reach(
                {h, w, kernel.h, kernel.w, stride.h, stride.w, padding.h, padding.w}),
        "{}: x {}, kernel {}, stride {}, padding {}", op, x.shape(), str(kernel), str(stride),
        str(padding));
  const Pair usual{unpooled(h, kernel.h, stride.h, padding.h),
                   unpooled(w, kernel.w, stride.w, padding.w)},
      size = options.output_size.value_or(usual);
  check(kernels::within_reach({size.h, size.w}) && size.h > 0 && size.w > 0 &&
            size.h > usual.h - stride.h && size.h < usual.h + stride.h &&
            size.w > usual.w - stride.w && size.w < usual.w + stride.w,
        "{}: x {} to {}x{}; kernel {}, stride {} and padding {} lead to {}x{}, or less than a "
        "stride away",
        op, x.shape(), size.h, size.w, str(kernel), str(stride), str(padding), usual.h, usual.w);
  const Tensor places = raw::checked_indices(op, indices, size.h * size.w);
  return detail::batched(x, 4, [&](const Tensor& planes) {
    const Shape& shape = planes.shape();
    return scatter(planes, raw::reshape(places, shape),
                   {{shape[0], shape[1], size.h, size.w}, shape});
  });
}

Tensor avg_pool2d(const Tensor& x, Pair kernel, const Pool2dOptions& options) {
  return detail::batched(
      x, 4, [&](const Tensor& images) { return averaged("avg_pool2d", images, kernel, options); });
}

Tensor adaptive_avg_pool2d(const Tensor& x, Pair output) {
  return detail::batched(x, 4, [&](const Tensor& images) {
    return averaged_to("adaptive_avg_pool2d", images, output);
  });
}

Tensor max_pool1d(const Tensor& x, int64_t kernel, const Pool1dOptions& options) {
  return along_rows("max_pool1d", x, [&](const Tensor& images) {
    return max_pooled("max_pool1d", images, {1, kernel}, of_rows(kernel, options)).y;
  });
}

Tensor avg_pool1d(const Tensor& x, int64_t kernel, const Pool1dOptions& options) {
  return along_rows("avg_pool1d", x, [&](const Tensor& images) {
    return averaged("avg_pool1d", images, {1, kernel}, of_rows(kernel, options));
  });
}

Tensor adaptive_avg_pool1d(const Tensor& x, int64_t output) {
  return along_rows("adaptive_avg_pool1d", x, [&](const Tensor& images) {
    return averaged_to("adaptive_avg_pool1d", images, {1, output});
  });
}

}  // namespace gradus
