#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/kernels/conv/conv.h>

namespace gradus {

using kernels::Conv2dShape;
using kernels::ConvPath;

namespace {

struct ConvAttrs {
  Conv2dShape shape;
  ConvPath path;
};

// Conv, its gradient with respect to the input and that with respect to the weight are bilinear and
// closed under differentiation: y = x * w;  dx = input(dy, w);  dw = weight(x, dy)
// (docs/derivations/conv2d.md).
Tensor apply_conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvAttrs& attrs);
Tensor apply_input(const Tensor& dy, const Tensor& w, const ConvAttrs& attrs);
/// Also db = the sum of dy over all but the channels, if it is given.
Tensor apply_weight(const Tensor& x, const Tensor& dy, const ConvAttrs& attrs,
                    Tensor* db = nullptr);

Shape x_shape(const Conv2dShape& s) { return {s.batch, s.in_channels, s.height, s.width}; }
Shape w_shape(const Conv2dShape& s) {
  return {s.out_channels, s.group_in(), s.kernel_h, s.kernel_w};
}
Shape y_shape(const Conv2dShape& s) {
  return {s.batch, s.out_channels, s.output_height(), s.output_width()};
}

}  // namespace

static Op conv2d_op("conv2d", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<ConvAttrs>();
  if (ctx.needs(0)) ctx.set(0, apply_input(ctx.dy(), ctx.kept(1), attrs));
  Tensor db;  // comes with dw, unless it is to be differentiated
  if (ctx.needs(1)) {
    const bool both = ctx.needs(2) && !needs_grad(ctx.dy());
    ctx.set(1, apply_weight(ctx.kept(0), ctx.dy(), attrs, both ? &db : nullptr));
  }
  if (ctx.needs(2)) ctx.set(2, db ? db : sum(ctx.dy(), {0, 2, 3}));
});

static Op conv2d_input_op("conv2d_input", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<ConvAttrs>();
  if (ctx.needs(0)) ctx.set(0, apply_conv(ctx.dy(), ctx.kept(1), {}, attrs));
  if (ctx.needs(1)) ctx.set(1, apply_weight(ctx.dy(), ctx.kept(0), attrs));
});

static Op conv2d_weight_op("conv2d_weight", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<ConvAttrs>();
  if (ctx.needs(0)) ctx.set(0, apply_input(ctx.kept(1), ctx.dy(), attrs));
  if (ctx.needs(1)) ctx.set(1, apply_conv(ctx.kept(0), ctx.dy(), {}, attrs));
});

namespace {

Tensor apply_conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvAttrs& attrs) {
  const Conv2dShape& s = attrs.shape;
  const Tensor xs = raw::contiguous(x), ws = raw::contiguous(w),
               bs = bias ? raw::contiguous(bias) : Tensor();
  Tensor y = empty(y_shape(s), x.dtype());
  dispatch_floating(x.dtype(), "conv2d", [&]<class T>() {
    kernels::conv2d<T>(s, xs.data<T>(), ws.data<T>(), bs ? bs.data<T>() : nullptr,
                       y.mutable_data<T>(), attrs.path);
  });
  return record(conv2d_op, std::move(y), {x, w, bias},
                {keep_if(needs_grad(w), x), keep_if(needs_grad(x), w)}, attrs);
}

Tensor apply_input(const Tensor& dy, const Tensor& w, const ConvAttrs& attrs) {
  const Conv2dShape& s = attrs.shape;
  const Tensor dys = raw::contiguous(dy), ws = raw::contiguous(w);
  Tensor dx = empty(x_shape(s), dy.dtype());
  dispatch_floating(dy.dtype(), "conv2d_input", [&]<class T>() {
    kernels::conv2d_input<T>(s, dys.data<T>(), ws.data<T>(), dx.mutable_data<T>(), attrs.path);
  });
  return record(conv2d_input_op, std::move(dx), {dy, w},
                {keep_if(needs_grad(w), dy), keep_if(needs_grad(dy), w)}, attrs);
}

Tensor apply_weight(const Tensor& x, const Tensor& dy, const ConvAttrs& attrs, Tensor* db) {
  const Conv2dShape& s = attrs.shape;
  const Tensor xs = raw::contiguous(x), dys = raw::contiguous(dy);
  Tensor dw = empty(w_shape(s), x.dtype());
  if (db) *db = empty({s.out_channels}, x.dtype());
  dispatch_floating(x.dtype(), "conv2d_weight", [&]<class T>() {
    kernels::conv2d_weight<T>(s, xs.data<T>(), dys.data<T>(), dw.mutable_data<T>(),
                              db ? db->mutable_data<T>() : nullptr, attrs.path);
  });
  return record(conv2d_weight_op, std::move(dw), {x, dy},
                {keep_if(needs_grad(dy), x), keep_if(needs_grad(x), dy)}, attrs);
}

ConvPath path_of(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::automatic:
      break;
    case ConvAlgorithm::im2col:
      return ConvPath::im2col;
    case ConvAlgorithm::direct:
      return ConvPath::direct;
    case ConvAlgorithm::winograd:
      return ConvPath::winograd;
  }
  return ConvPath::automatic;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options) {
  check_same_dtype("conv2d", x, weight);
  if (bias) check_same_dtype("conv2d", x, bias);
  check(x.ndim() == 4 && weight.ndim() == 4 && options.groups > 0 &&
            x.size(1) % options.groups == 0 && x.size(1) / options.groups == weight.size(1),
        "conv2d: x {} must be (N, C, H, W) and weight {} (out, C / groups, KH, KW) with {} groups",
        x.shape(), weight.shape(), options.groups);
  if (bias && bias.shape() != Shape{weight.size(0)})
    fail("conv2d: bias {} for weight {}", bias.shape(), weight.shape());
  const Conv2dShape s{x.size(0),          x.size(1),         x.size(2),         x.size(3),
                      weight.size(0),     weight.size(2),    weight.size(3),    options.stride.h,
                      options.stride.w,   options.padding.h, options.padding.w, options.dilation.h,
                      options.dilation.w, options.groups};
  kernels::check_conv2d("conv2d", s);
  return apply_conv(x, weight, bias, {s, path_of(options.algorithm)});
}

}  // namespace gradus
