#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/detail/unbatched.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/conv/conv.h>
#include <gradus/kernels/runtime/windows.h>

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

/// Where a convolution runs along one axis, of x (N, C, L) and a weight (.., .., K): along the last
/// of images of one row.
Tensor as_rows(const Tensor& x) { return unsqueeze(x, -2); }

void check_operands(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                    int axes) {
  check_same_dtype(op, x, weight);
  if (bias) check_same_dtype(op, x, bias);
  const int ndim = axes + 2;
  check((x.ndim() == ndim || x.ndim() == ndim - 1) && weight.ndim() == ndim,
        "{}: x {} and weight {}; needs x of {} or, without a batch, {} axes and a weight of {}", op,
        x.shape(), weight.shape(), ndim, ndim - 1, ndim);
}

void check_bias(const char* op, const Tensor& bias, const Tensor& weight, int64_t channels) {
  if (bias && bias.shape() != Shape{channels})
    fail("{}: bias {} for weight {}, which has {} output channels", op, bias.shape(),
         weight.shape(), channels);
}

/// x: (N, C, H, W)
Tensor convolution(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Conv2dOptions& o) {
  check(o.groups > 0 && x.size(1) % o.groups == 0 && x.size(1) / o.groups == weight.size(1),
        "{}: x {} must be (N, C, H, W) and weight {} (out, C / groups, KH, KW) with {} groups", op,
        x.shape(), weight.shape(), o.groups);
  check_bias(op, bias, weight, weight.size(0));
  Pair padding = o.padding, odd = 0;
  if (o.padding.keeps_size) {
    check(o.stride.h == 1 && o.stride.w == 1,
          "{}: the padding that keeps the size needs a stride of 1, not {}", op, str(o.stride));
    check(kernels::within_reach({o.dilation.h, o.dilation.w, weight.size(2), weight.size(3)}) &&
              o.dilation.h > 0 && o.dilation.w > 0,
          "{}: a kernel of {}x{} with dilation {}", op, weight.size(2), weight.size(3),
          str(o.dilation));
    const Pair all{o.dilation.h * (weight.size(2) - 1), o.dilation.w * (weight.size(3) - 1)};
    odd = {all.h % 2, all.w % 2};
    padding = {(all.h + odd.h) / 2, (all.w + odd.w) / 2};
  }
  const Conv2dShape s{x.size(0),      x.size(1),      x.size(2),    x.size(3),  weight.size(0),
                      weight.size(2), weight.size(3), o.stride.h,   o.stride.w, padding.h,
                      padding.w,      o.dilation.h,   o.dilation.w, o.groups};
  kernels::check_conv2d(op, s);
  Tensor y = apply_conv(x, weight, bias, {s, path_of(o.algorithm)});
  // An odd number of zeros was made even by one at the begin, of which the first output is.
  if (odd.h) y = slice(y, 2, 1, y.size(2));
  if (odd.w) y = slice(y, 3, 1, y.size(3));
  return y;
}

/// x: (N, C, H, W)
Tensor transposed(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const ConvTranspose2dOptions& o) {
  const int64_t kh = weight.size(2), kw = weight.size(3), h = x.size(2), w = x.size(3);
  const Pair &stride = o.stride, &padding = o.padding, &more = o.output_padding,
             &dilation = o.dilation;
  check(o.groups > 0 && x.size(1) == weight.size(0) && x.size(1) % o.groups == 0,
        "{}: x {} must be (N, C, H, W) and weight {} (C, out / groups, KH, KW) with {} groups", op,
        x.shape(), weight.shape(), o.groups);
  check(stride.h > 0 && stride.w > 0 && dilation.h > 0 && dilation.w > 0 && padding.h >= 0 &&
            padding.w >= 0 && h > 0 && w > 0 && kh > 0 && kw > 0,
        "{}: x {} and a kernel of {}x{} need elements, stride {} and dilation {} must be positive, "
        "padding {} must not be negative",
        op, x.shape(), kh, kw, str(stride), str(dilation), str(padding));
  check(more.h >= 0 && more.w >= 0 && more.h < std::max(stride.h, dilation.h) &&
            more.w < std::max(stride.w, dilation.w),
        "{}: output_padding {} must be below stride {} or dilation {}", op, str(more), str(stride),
        str(dilation));
  check(kernels::within_reach({h, w, kh, kw, stride.h, stride.w, padding.h, padding.w, more.h,
                               more.w, dilation.h, dilation.w}),
        "{}: x {}, kernel {}x{}, stride {}, padding {}, output_padding {} or dilation {} exceeds "
        "2^31",
        op, x.shape(), kh, kw, str(stride), str(padding), str(more), str(dilation));
  const int64_t channels = weight.size(1) * o.groups,
                height = (h - 1) * stride.h - 2 * padding.h + dilation.h * (kh - 1) + more.h + 1,
                width = (w - 1) * stride.w - 2 * padding.w + dilation.w * (kw - 1) + more.w + 1;
  check(height > 0 && width > 0, "{}: padding {} leaves {}x{} of x {}", op, str(padding), height,
        width, x.shape());
  check_bias(op, bias, weight, channels);
  const Conv2dShape s{x.size(0), channels, height,    width,     x.size(1),  kh,         kw,
                      stride.h,  stride.w, padding.h, padding.w, dilation.h, dilation.w, o.groups};
  kernels::check_conv2d(op, s);
  // Where output_padding reaches the stride, conv2d has windows beyond those of x: x is 0 there.
  Tensor dy = x;
  for (const int axis : {2, 3}) {
    Shape rest = dy.shape();
    rest[axis] = (axis == 2 ? s.output_height() : s.output_width()) - rest[axis];
    if (rest[axis] > 0) dy = concat({dy, zeros(rest, x.dtype())}, axis);
  }
  const Tensor y = apply_input(dy, weight, {s, ConvPath::automatic});
  return bias ? y + reshape(bias, {channels, 1, 1}) : y;
}

}  // namespace

std::string str(Pair pair) {
  return pair.h == pair.w ? fmt::format("{}", pair.h) : fmt::format("{}x{}", pair.h, pair.w);
}

std::string str(const Padding& padding) { return padding.keeps_size ? "same" : str(Pair(padding)); }

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options) {
  check_operands("conv2d", x, weight, bias, 2);
  return detail::batched(x, 4, [&](const Tensor& images) {
    return convolution("conv2d", images, weight, bias, options);
  });
}

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Conv1dOptions& options) {
  check_operands("conv1d", x, weight, bias, 1);
  const Padding& ends = options.padding;
  check(ends.h == ends.w, "conv1d: padding {} along one axis", str(ends));
  const Conv2dOptions rows{.stride = {1, options.stride},
                           .padding = ends.keeps_size ? Padding::same() : Padding(0, ends.w),
                           .dilation = {1, options.dilation},
                           .groups = options.groups};
  return squeeze(detail::batched(as_rows(x), 4,
                                 [&](const Tensor& images) {
                                   return convolution("conv1d", images, as_rows(weight), bias,
                                                      rows);
                                 }),
                 -2);
}

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  check_operands("conv_transpose2d", x, weight, bias, 2);
  return detail::batched(x, 4, [&](const Tensor& images) {
    return transposed("conv_transpose2d", images, weight, bias, options);
  });
}

Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose1dOptions& options) {
  check_operands("conv_transpose1d", x, weight, bias, 1);
  const ConvTranspose2dOptions rows{.stride = {1, options.stride},
                                    .padding = {0, options.padding},
                                    .output_padding = {0, options.output_padding},
                                    .dilation = {1, options.dilation},
                                    .groups = options.groups};
  return squeeze(detail::batched(as_rows(x), 4,
                                 [&](const Tensor& images) {
                                   return transposed("conv_transpose1d", images, as_rows(weight),
                                                     bias, rows);
                                 }),
                 -2);
}

}  // namespace gradus
