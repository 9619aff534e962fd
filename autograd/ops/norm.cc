#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_study.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/norm/norm.h>

#include <cmath>

namespace gradus {

namespace {

struct LayerNormAttrs {
  Shape normalized_shape;
  double eps;
};

struct BatchNormAttrs {
  ChannelAxis axis;
  double eps;
};

/// dx, dweight and dbias of either norm; empty ones are not wanted.
struct NormGradients {
  Tensor dx, dweight, dbias;
};

kernels::Channels channels_of(const Tensor& x, ChannelAxis axis) {
  const int64_t c = x.size(axis == ChannelAxis::last ? -1 : 1);
  const int64_t others = c == 0 ? 0 : x.numel() / c;
  return axis == ChannelAxis::last
             ? kernels::Channels{others, c, 1}
             : kernels::Channels{x.size(0), c, x.size(0) == 0 ? 0 : others / x.size(0)};
}

void check_parameter(const char* op, const char* what, const Tensor& parameter, const Tensor& x,
                     const Shape& shape) {
  if (!parameter) return;
  check_same_dtype(op, x, parameter);
  check(parameter.shape() == shape, "{}: {} is {}, must be {} for x {}", op, what,
        parameter.shape(), shape, x.shape());
}

void check_eps(const char* op, double eps) {
  check(eps >= 0 && std::isfinite(eps), "{}: eps is {}, must be finite and not negative", op, eps);
}

void check_mask(const char* op, const Tensor& valid, const Shape& shape, const Tensor& x) {
  if (!valid) return;
  check(valid.dtype() == DType::boolean && valid.shape() == shape,
        "{}: the mask is {} {}, must be bool {} for x {}", op, name(valid.dtype()), valid.shape(),
        shape, x.shape());
}

/// What of (dx, dweight, dbias) a backward has to compute: all of it if it is to be differentiated.
NormGradients wanted(const Backward& ctx, const Tensor& x, const Shape& weights) {
  const bool all = detail::recorder != nullptr;
  NormGradients d;
  if (all || ctx.needs(0)) d.dx = empty_like(x);
  if (all || ctx.needs(1)) d.dweight = empty(weights, x.dtype());
  if (all || ctx.needs(2)) d.dbias = empty(weights, x.dtype());
  return d;
}

template <class Attrs>
void record_gradients(const Op& op, NormGradients& d, const Tensor& x, const Tensor& weight,
                      const Tensor& dy, const Tensor& valid, const Attrs& attrs) {
  if (!detail::recorder) return;
  Tensor* const outputs[] = {&d.dx, &d.dweight, &d.dbias};
  record_outputs(op, outputs, {x, weight, dy}, {x, weight, dy, valid}, &attrs, sizeof attrs);
}

void set_gradients(Backward& ctx, NormGradients d) {
  if (d.dx) ctx.set(0, std::move(d.dx));
  if (d.dweight) ctx.set(1, std::move(d.dweight));
  if (d.dbias) ctx.set(2, std::move(d.dbias));
}

/// The backward of a norm's backward, in the stages of norm_study.h.
void second_order(Backward& ctx, const NormGroups& groups, double eps, const Shape& weights) {
  const auto upstream = [&](int i) { return ctx.has_dy(i) ? ctx.dy(i) : Tensor(); };
  const NormSecond d = norm_backward_backward(groups, ctx.kept(0), ctx.kept(1), ctx.kept(2), eps,
                                              upstream(0), upstream(1), upstream(2));
  if (ctx.needs(0)) ctx.set(0, d.x);
  if (ctx.needs(1)) ctx.set(1, reshape(d.weight, weights));
  if (ctx.needs(2)) ctx.set(2, d.dy);
}

}  // namespace

// dx, dw, db as a function of (x, w, dy); its gradient is norm_backward_backward.
static Op layer_norm_backward_op("layer_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<LayerNormAttrs>();
  second_order(ctx, layer_norm_groups(ctx.kept(0), attrs.normalized_shape, ctx.kept(3)), attrs.eps,
               attrs.normalized_shape);
});

// y = x^ w + b, x^ = (x - mean) r:  dx = r (g - mean(g) - x^ mean(g x^)), g = w dy;
// dw = sum dy x^, db = sum dy  (docs/derivations/layer_norm.md)
static Op layer_norm_op("layer_norm", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<LayerNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4);
  const Tensor &dy = ctx.dy(), values = raw::contiguous(x), dy_values = raw::contiguous(dy),
               w_values = contiguous_or_none(w);
  const int64_t d = attrs.normalized_shape.numel();
  NormGradients grads = wanted(ctx, x, attrs.normalized_shape);
  dispatch_floating(x.dtype(), "layer_norm", [&]<class T>() {
    kernels::layer_norm_backward<T>(x.numel() / d, d, values.data<T>(), pointer<bool>(valid),
                                    mean.data<T>(), rstd.data<T>(), pointer<T>(w_values),
                                    dy_values.data<T>(), pointer<T>(grads.dx),
                                    pointer<T>(grads.dweight), pointer<T>(grads.dbias));
  });
  record_gradients(layer_norm_backward_op, grads, x, w, dy, valid, attrs);
  set_gradients(ctx, std::move(grads));
});

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                  const Tensor& bias, double eps, const Tensor& valid) {
  const int leading = x.ndim() - normalized_shape.ndim();
  bool fits = leading >= 0 && normalized_shape.ndim() > 0;
  Shape rows_shape;
  for (int i = 0; i < x.ndim() && fits; ++i) {
    if (i < leading)
      rows_shape.push_back(x.shape()[i]);
    else
      fits = x.shape()[i] == normalized_shape[i - leading];
  }
  const int64_t d = normalized_shape.numel();
  check(fits && d > 0, "layer_norm: x {} does not end in the normalized shape {}", x.shape(),
        normalized_shape);
  check_eps("layer_norm", eps);
  check_parameter("layer_norm", "weight", weight, x, normalized_shape);
  check_parameter("layer_norm", "bias", bias, x, normalized_shape);
  check_mask("layer_norm", valid, rows_shape, x);
  const int64_t rows = x.numel() / d;
  const Tensor values = raw::contiguous(x), w = contiguous_or_none(weight),
               b = contiguous_or_none(bias), mask = contiguous_or_none(valid);
  Tensor y = empty_like(x), mean, rstd;
  if (needs_grad(x) || needs_grad(weight) || needs_grad(bias)) {
    mean = empty({rows}, x.dtype());
    rstd = empty({rows}, x.dtype());
  }
  dispatch_floating(x.dtype(), "layer_norm", [&]<class T>() {
    kernels::layer_norm<T>(rows, d, eps, values.data<T>(), pointer<bool>(mask), pointer<T>(w),
                           pointer<T>(b), y.mutable_data<T>(), pointer<T>(mean), pointer<T>(rstd));
  });
  return record(layer_norm_op, std::move(y), {x, weight, bias}, {x, weight, mean, rstd, mask},
                LayerNormAttrs{normalized_shape, eps});
}

namespace {

/// Checks what both forms of Batch Normalization take; returns the sizes.
kernels::Channels check_batch_norm(const char* op, const Tensor& x, const Tensor& weight,
                                   const Tensor& bias, double eps, ChannelAxis axis,
                                   const Tensor& valid) {
  check_eps(op, eps);
  check(x.ndim() >= 2, "{}: x {} needs at least two dimensions, one of them channels", op,
        x.shape());
  const int channel = axis == ChannelAxis::last ? x.ndim() - 1 : 1;
  const Shape per_channel{x.shape()[channel]};
  check_parameter(op, "weight", weight, x, per_channel);
  check_parameter(op, "bias", bias, x, per_channel);
  check_mask(op, valid, x.shape().erased(channel), x);
  return channels_of(x, axis);
}

}  // namespace

static Op batch_norm_backward_op("batch_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const NormGroups groups = batch_norm_groups(ctx.kept(0), attrs.axis, ctx.kept(3));
  second_order(ctx, groups, attrs.eps, {groups.weights.numel()});
});

namespace {

/// Of batch_norm or, where `relu`, of what of dy passes the relu behind it.
void batch_norm_gradients(Backward& ctx, const Tensor& dy, bool relu) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4), b = relu ? ctx.kept(5) : Tensor();
  const Tensor values = raw::contiguous(x), dy_values = raw::contiguous(dy),
               w_values = contiguous_or_none(w), b_values = contiguous_or_none(b);
  NormGradients grads = wanted(ctx, x, mean.shape());
  dispatch_floating(x.dtype(), "batch_norm", [&]<class T>() {
    kernels::batch_norm_backward<T>(
        channels_of(x, attrs.axis), values.data<T>(), pointer<bool>(valid), mean.data<T>(),
        rstd.data<T>(), pointer<T>(w_values), pointer<T>(b_values), relu, dy_values.data<T>(),
        pointer<T>(grads.dx), pointer<T>(grads.dweight), pointer<T>(grads.dbias));
  });
  record_gradients(batch_norm_backward_op, grads, x, w, dy, valid, attrs);
  set_gradients(ctx, std::move(grads));
}

/// What the relu of batch_norm_relu was given, a constant.
Tensor before_relu(const Backward& ctx) {
  const Tensor x = raw::contiguous(ctx.kept(0)), w = contiguous_or_none(ctx.kept(1)),
               mean = ctx.kept(2), rstd = ctx.kept(3), valid = ctx.kept(4),
               b = contiguous_or_none(ctx.kept(5));
  Tensor y = empty_like(x);
  dispatch_floating(x.dtype(), "batch_norm_relu", [&]<class T>() {
    kernels::batch_norm_normalize<T>(channels_of(x, ctx.attrs<BatchNormAttrs>().axis), x.data<T>(),
                                     pointer<bool>(valid), mean.data<T>(), rstd.data<T>(),
                                     pointer<T>(w), pointer<T>(b), y.mutable_data<T>());
  });
  return y;
}

// As layer_norm, with means over the valid elements of a channel (docs/derivations/batch_norm.md)
Op batch_norm_op("batch_norm", [](Backward& ctx) { batch_norm_gradients(ctx, ctx.dy(), false); });

// As batch_norm, for dy where y is positive; y is computed again. To be differentiated, the two are
// two ops.
Op batch_norm_relu_op("batch_norm_relu", [](Backward& ctx) {
  if (detail::recorder)
    batch_norm_gradients(ctx, relu_gradient(ctx.dy(), before_relu(ctx)), false);
  else
    batch_norm_gradients(ctx, ctx.dy(), true);
});

BatchNormResult apply(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                      double eps, ChannelAxis axis, const Tensor& valid) {
  const bool relu = &op == &batch_norm_relu_op;
  const kernels::Channels sizes = check_batch_norm(op.name, x, weight, bias, eps, axis, valid);
  const Tensor values = raw::contiguous(x), w = contiguous_or_none(weight),
               b = contiguous_or_none(bias), mask = contiguous_or_none(valid);
  int64_t count = sizes.outer * sizes.inner;
  if (mask) {
    count = 0;
    const bool* m = mask.data<bool>();
    for (int64_t i = 0; i < mask.numel(); ++i) count += m[i];
    check(count > 0, "{}: the mask {} leaves no position of x {}", op.name, valid.shape(),
          x.shape());
  }
  check(count > 1,
        "{}: x {} has {} value a channel, so training statistics do not exist; use a larger batch, "
        "drop the last partial one, eval() with running statistics, or LayerNorm",
        op.name, x.shape(), count);
  BatchNormResult result{empty_like(x), empty({sizes.channels}, x.dtype()),
                         empty({sizes.channels}, x.dtype()), count};
  Tensor rstd = empty({sizes.channels}, x.dtype());
  dispatch_floating(x.dtype(), op.name, [&]<class T>() {
    kernels::batch_norm<T>(sizes, eps, values.data<T>(), pointer<bool>(mask), pointer<T>(w),
                           pointer<T>(b), relu, result.y.mutable_data<T>(),
                           result.mean.mutable_data<T>(), result.var.mutable_data<T>(),
                           rstd.mutable_data<T>());
  });
  result.y =
      record(op, std::move(result.y), {x, weight, bias},
             {x, weight, result.mean, rstd, mask, keep_if(relu, bias)}, BatchNormAttrs{axis, eps});
  return result;
}

}  // namespace

BatchNormResult batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                           ChannelAxis axis, const Tensor& valid) {
  return apply(batch_norm_op, x, weight, bias, eps, axis, valid);
}

BatchNormResult batch_norm_relu(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                double eps, ChannelAxis axis, const Tensor& valid) {
  return apply(batch_norm_relu_op, x, weight, bias, eps, axis, valid);
}

// y = (x - m) r w + b, m and r constants:  dx = w r dy, dw = sum dy (x - m) r, db = sum dy
static Op batch_norm_inference_op("batch_norm_inference", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4);
  const Tensor& dy = ctx.dy();
  if (needs_grad(dy) || needs_grad(x) || needs_grad(w)) {
    const NormGroups groups = batch_norm_groups(x, attrs.axis, valid);
    const auto per_channel = [&](const Tensor& v) { return reshape(v, groups.weights); };
    const Tensor g = clear_invalid(groups, reshape(dy, groups.shape));
    const Tensor centred = clear_invalid(groups, reshape(x, groups.shape) - per_channel(mean));
    const Tensor scaled = g * per_channel(rstd);
    if (ctx.needs(0)) ctx.set(0, reshape(w ? scaled * per_channel(w) : scaled, x.shape()));
    if (ctx.needs(1)) ctx.set(1, reshape(sum_to(scaled * centred, groups.weights), mean.shape()));
    if (ctx.needs(2)) ctx.set(2, reshape(sum_to(g, groups.weights), mean.shape()));
    return;
  }
  const Tensor values = raw::contiguous(x), dy_values = raw::contiguous(dy),
               w_values = contiguous_or_none(w);
  NormGradients grads = wanted(ctx, x, mean.shape());
  dispatch_floating(x.dtype(), "batch_norm_inference", [&]<class T>() {
    kernels::batch_norm_backward_eval<T>(
        channels_of(x, attrs.axis), values.data<T>(), pointer<bool>(valid), mean.data<T>(),
        rstd.data<T>(), pointer<T>(w_values), dy_values.data<T>(), pointer<T>(grads.dx),
        pointer<T>(grads.dweight), pointer<T>(grads.dbias));
  });
  set_gradients(ctx, std::move(grads));
});

Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var,
                            const Tensor& weight, const Tensor& bias, double eps, ChannelAxis axis,
                            const Tensor& valid) {
  const char* op = "batch_norm_inference";
  const kernels::Channels sizes = check_batch_norm(op, x, weight, bias, eps, axis, valid);
  check_parameter(op, "mean", mean, x, {sizes.channels});
  check_parameter(op, "var", var, x, {sizes.channels});
  const Tensor values = raw::contiguous(x), w = contiguous_or_none(weight),
               b = contiguous_or_none(bias), mask = contiguous_or_none(valid),
               var_values = raw::contiguous(var);
  const Tensor kept_mean = raw::clone(mean);  // running statistics go on changing
  Tensor rstd = empty({sizes.channels}, x.dtype()), y = empty_like(x);
  dispatch_floating(x.dtype(), op, [&]<class T>() {
    kernels::batch_norm_rstd<T>(sizes.channels, eps, var_values.data<T>(), rstd.mutable_data<T>());
    kernels::batch_norm_normalize<T>(sizes, values.data<T>(), pointer<bool>(mask),
                                     kept_mean.data<T>(), rstd.data<T>(), pointer<T>(w),
                                     pointer<T>(b), y.mutable_data<T>());
  });
  return record(batch_norm_inference_op, std::move(y), {x, weight, bias},
                {x, weight, kept_mean, rstd, mask}, BatchNormAttrs{axis, eps});
}

}  // namespace gradus
