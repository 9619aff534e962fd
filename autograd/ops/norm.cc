#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/norm/norm.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus {

namespace {

/// Of layer_norm, rms_norm and group_norm.
struct RowNormAttrs {
  kernels::NormRows rows;
  Shape weights;
  double eps;
  Activation activation = Activation::none;
};

struct BatchNormAttrs {
  ChannelAxis axis;
  double eps;
  Activation activation;
};

/// What a norm takes, as its kernels read it.
struct Operands {
  Operands(const Tensor& x_, const Tensor& weight, const Tensor& bias, const Tensor& mask)
      : x(raw::contiguous(x_)),
        w(contiguous_or_none(weight)),
        b(contiguous_or_none(bias)),
        valid(contiguous_or_none(mask)) {}
  template <class T>
  kernels::NormInput<T> input(Activation activation) const {
    return {x.data<T>(), pointer<bool>(valid), pointer<T>(w), pointer<T>(b),
            activation == Activation::relu};
  }
  Tensor x, w, b, valid;
};

/// dx, dweight and dbias of either norm; empty ones are not wanted.
struct NormGradients {
  Tensor dx, dweight, dbias;
  template <class T>
  kernels::NormGradients<T> pointers() {
    return {pointer<T>(dx), pointer<T>(dweight), pointer<T>(dbias)};
  }
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

/// x's shape without the normalized axes, in which it has to end.
Shape check_normalized(const char* op, const Tensor& x, const Shape& normalized_shape) {
  const int leading = x.ndim() - normalized_shape.ndim();
  bool fits = leading >= 0 && normalized_shape.ndim() > 0;
  Shape rows;
  for (int i = 0; i < x.ndim() && fits; ++i) {
    if (i < leading)
      rows.push_back(x.shape()[i]);
    else
      fits = x.shape()[i] == normalized_shape[i - leading];
  }
  check(fits, "{}: x {} does not end in the normalized shape {}", op, x.shape(), normalized_shape);
  return rows;
}

/// Where there is nothing to normalize: no elements, and gradients of 0.
Tensor no_values(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor scaled = weight ? x * weight : reshape(x, x.shape());
  return bias ? scaled + bias : scaled;
}

/// What of (dx, dweight, dbias) a backward has to compute: all of it if it is to be differentiated.
NormGradients wanted(const Backward& ctx, const Tensor& x, const Shape& weights,
                     bool has_bias = true) {
  const bool all = detail::recorder != nullptr;
  NormGradients d;
  if (all || ctx.needs(0)) d.dx = empty_like(x);
  if (all || ctx.needs(1)) d.dweight = empty(weights, x.dtype());
  if (has_bias && (all || ctx.needs(2))) d.dbias = empty(weights, x.dtype());
  return d;
}

template <class Attrs>
void record_gradients(const Op& op, NormGradients& d, const Tensor& x, const Tensor& weight,
                      const Tensor& dy, const Tensor& valid, const Attrs& attrs) {
  if (!detail::recorder) return;
  Tensor* const outputs[] = {&d.dx, &d.dweight, &d.dbias};
  record_outputs(op, std::span(outputs, d.dbias ? 3 : 2), {x, weight, dy}, {x, weight, dy, valid},
                 &attrs, sizeof attrs);
}

void set_gradients(Backward& ctx, NormGradients d) {
  if (d.dx) ctx.set(0, std::move(d.dx));
  if (d.dweight) ctx.set(1, std::move(d.dweight));
  if (d.dbias) ctx.set(2, std::move(d.dbias));
}

/// dy as the kernel takes it. For a sweep that is to be differentiated, what of it passes the
/// activation is an op of its own, and the kernel has no activation; `norm` computes what the
/// activation was given, a constant.
template <class Norm>
Tensor dy_before(Backward& ctx, Activation& activation, Norm norm) {
  if (!detail::recorder || activation == Activation::none) return ctx.dy();
  activation = Activation::none;
  const Tensor y = [&] {
    const NoRecord pause;
    return norm();
  }();
  return relu_gradient(ctx.dy(), y);
}

/// The backward of a norm's backward, in the stages of norm_stages.h.
void second_order(Backward& ctx, const NormGroups& groups, double eps, const Shape& weights,
                  int outputs = 3) {
  const auto upstream = [&](int i) { return i < outputs && ctx.has_dy(i) ? ctx.dy(i) : Tensor(); };
  const NormSecond d = norm_backward_backward(groups, ctx.kept(0), ctx.kept(1), ctx.kept(2), eps,
                                              upstream(0), upstream(1), upstream(2));
  if (ctx.needs(0)) ctx.set(0, d.x);
  if (ctx.needs(1)) ctx.set(1, reshape(d.weight, weights));
  if (ctx.needs(2)) ctx.set(2, d.dy);
}

struct RowNormResult {
  Tensor y, mean, rstd;  // one of the latter a row, where the gradient wants them
};

RowNormResult compute_row_norm(const char* op, const Operands& in, const RowNormAttrs& attrs,
                               bool with_grad) {
  const auto one_a_row = [&](bool wanted) {
    const Shape rows{attrs.rows.samples * attrs.rows.groups};
    return wanted ? empty(rows, in.x.dtype()) : Tensor();
  };
  RowNormResult r{empty_like(in.x), one_a_row(with_grad && attrs.rows.centred),
                  one_a_row(with_grad)};
  dispatch_floating(in.x.dtype(), op, [&]<class T>() {
    kernels::row_norm<T>(attrs.rows, attrs.eps, in.input<T>(attrs.activation),
                         r.y.mutable_data<T>(), pointer<T>(r.mean), pointer<T>(r.rstd));
  });
  return r;
}

Tensor row_norm(const Op& op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                const Tensor& valid, const RowNormAttrs& attrs) {
  const Operands in(x, weight, bias, valid);
  const bool with_grad = needs_grad(x) || needs_grad(weight) || needs_grad(bias);
  RowNormResult r = compute_row_norm(op.name, in, attrs, with_grad);
  const Tensor& kept_bias = keep_if(attrs.activation == Activation::relu, bias);
  return record(op, std::move(r.y), {x, weight, bias},
                {x, weight, r.mean, r.rstd, in.valid, kept_bias}, attrs);
}

// y = x^ w + b, x^ = (x - mean) r:  dx = r (g - mean(g) - x^ mean(g x^)), g = w dy;
// dw = sum dy x^, db = sum dy, for the dy that passes the activation
// (docs/derivations/layer_norm.md)
void row_norm_backward(Backward& ctx, const Op& gradient) {
  const auto& attrs = ctx.attrs<RowNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4), b = ctx.kept(5);
  const Operands in(x, w, b, valid);
  Activation activation = attrs.activation;
  const Tensor dy = dy_before(ctx, activation, [&] {
    RowNormAttrs linear = attrs;
    linear.activation = Activation::none;
    return compute_row_norm(gradient.name, in, linear, false).y;
  });
  const Tensor dy_values = raw::contiguous(dy);
  NormGradients grads = wanted(ctx, x, attrs.weights, attrs.rows.centred);
  if (activation == Activation::relu && !grads.dx) grads.dx = empty_like(x);  // the kernel needs it
  dispatch_floating(x.dtype(), gradient.name, [&]<class T>() {
    kernels::row_norm_backward<T>(attrs.rows, attrs.eps, in.input<T>(activation), pointer<T>(mean),
                                  rstd.data<T>(), dy_values.data<T>(), grads.pointers<T>());
  });
  record_gradients(gradient, grads, x, w, dy, valid, attrs);
  set_gradients(ctx, std::move(grads));
}

/// Rows over x's trailing axes.
RowNormAttrs over_trailing_axes(const Tensor& x, const Shape& normalized_shape, double eps) {
  const int64_t d = normalized_shape.numel();
  return {{x.numel() / d, 1, d}, normalized_shape, eps};
}

}  // namespace

// dx, dw, db as a function of (x, w, dy); its gradient is norm_backward_backward.
static Op layer_norm_backward_op("layer_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<RowNormAttrs>();
  second_order(ctx, layer_norm_groups(ctx.kept(0), attrs.weights, ctx.kept(3)), attrs.eps,
               attrs.weights);
});

static Op layer_norm_op("layer_norm",
                        [](Backward& ctx) { row_norm_backward(ctx, layer_norm_backward_op); });

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                  const Tensor& bias, const LayerNormOptions& options) {
  const Shape rows_shape = check_normalized("layer_norm", x, normalized_shape);
  check_eps("layer_norm", options.eps);
  check_parameter("layer_norm", "weight", weight, x, normalized_shape);
  check_parameter("layer_norm", "bias", bias, x, normalized_shape);
  check_mask("layer_norm", options.valid, rows_shape, x);
  if (normalized_shape.numel() == 0) return no_values(x, weight, bias);
  RowNormAttrs attrs = over_trailing_axes(x, normalized_shape, options.eps);
  attrs.activation = options.activation;
  return row_norm(layer_norm_op, x, weight, bias, options.valid, attrs);
}

// As layer_norm_backward, about 0 (docs/derivations/rms_norm.md)
static Op rms_norm_backward_op("rms_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<RowNormAttrs>();
  second_order(ctx, rms_norm_groups(ctx.kept(0), attrs.weights, ctx.kept(3)), attrs.eps,
               attrs.weights, 2);
});

// As layer_norm, about 0: without mean and mean(g) (docs/derivations/rms_norm.md)
static Op rms_norm_op("rms_norm",
                      [](Backward& ctx) { row_norm_backward(ctx, rms_norm_backward_op); });

Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                const RmsNormOptions& options) {
  const Shape rows_shape = check_normalized("rms_norm", x, normalized_shape);
  check_parameter("rms_norm", "weight", weight, x, normalized_shape);
  check_mask("rms_norm", options.valid, rows_shape, x);
  const double epsilon = x.dtype() == DType::f32 ? std::numeric_limits<float>::epsilon()
                                                 : std::numeric_limits<double>::epsilon();
  const double eps = options.eps.value_or(epsilon);
  check_eps("rms_norm", eps);
  if (normalized_shape.numel() == 0) return no_values(x, weight, {});
  RowNormAttrs attrs = over_trailing_axes(x, normalized_shape, eps);
  attrs.rows.centred = false;
  return row_norm(rms_norm_op, x, weight, {}, options.valid, attrs);
}

// As layer_norm_backward, with weights of channels (docs/derivations/group_norm.md)
static Op group_norm_backward_op("group_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<RowNormAttrs>();
  second_order(ctx, group_norm_groups(ctx.kept(0), attrs.rows.groups, ctx.kept(3)), attrs.eps,
               attrs.weights);
});

// As layer_norm, with weights of channels (docs/derivations/group_norm.md)
static Op group_norm_op("group_norm",
                        [](Backward& ctx) { row_norm_backward(ctx, group_norm_backward_op); });

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  const GroupNormOptions& options) {
  const Shape grouped = group_norm_groups(x, groups).shape;  // (N, G, C / G, ...)
  const int64_t n = x.size(0), c = x.size(1), inner = grouped[3], values = grouped[2] * inner;
  check(values != 1,
        "group_norm: {} groups of x {} have 1 value each, so nothing would be left of it; use "
        "fewer groups",
        groups, x.shape());
  check_eps("group_norm", options.eps);
  check_parameter("group_norm", "weight", weight, x, {c});
  check_parameter("group_norm", "bias", bias, x, {c});
  check_mask("group_norm", options.valid, {n}, x);
  if (values == 0) {
    Shape per_channel{c};  // of x[0]
    for (int i = 2; i < x.ndim(); ++i) per_channel.push_back(1);
    const auto of_axis = [&](const Tensor& v) { return v ? reshape(v, per_channel) : v; };
    return no_values(x, of_axis(weight), of_axis(bias));
  }
  return row_norm(group_norm_op, x, weight, bias, options.valid,
                  {{n, groups, values, inner}, {c}, options.eps, options.activation});
}

namespace {

/// Checks what both forms of Batch Normalization take; returns the sizes.
kernels::Channels check_batch_norm(const char* op, const Tensor& x, const Tensor& weight,
                                   const Tensor& bias, const BatchNormOptions& options) {
  check_eps(op, options.eps);
  check(x.ndim() >= 2, "{}: x {} needs at least two dimensions, one of them channels", op,
        x.shape());
  const int channel = options.axis == ChannelAxis::last ? x.ndim() - 1 : 1;
  const Shape per_channel{x.shape()[channel]};
  check_parameter(op, "weight", weight, x, per_channel);
  check_parameter(op, "bias", bias, x, per_channel);
  check_mask(op, options.valid, x.shape().erased(channel), x);
  return channels_of(x, options.axis);
}

/// How many values a channel has; an error where that is too few for statistics.
int64_t check_count(const kernels::Channels& sizes, const Tensor& x, const Tensor& valid) {
  const int64_t count = kernels::count_valid(sizes, pointer<bool>(valid));
  if (valid)
    check(count > 0, "batch_norm: the mask {} leaves no position of x {}", valid.shape(),
          x.shape());
  check(count > 0,
        "batch_norm: x {} has no values, so training statistics do not exist; leave the batch out, "
        "or eval() with running statistics",
        x.shape());
  check(
      count > 1,
      "batch_norm: x {} has {} value a channel, so training statistics do not exist; use a larger "
      "batch, drop the last partial one, eval() with running statistics, or LayerNorm",
      x.shape(), count);
  return count;
}

}  // namespace

static Op batch_norm_backward_op("batch_norm_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const NormGroups groups = batch_norm_groups(ctx.kept(0), attrs.axis, ctx.kept(3));
  second_order(ctx, groups, attrs.eps, {groups.weights.numel()});
});

// As layer_norm, with means over the valid elements of a channel (docs/derivations/batch_norm.md)
static Op batch_norm_op("batch_norm", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4), b = ctx.kept(5);
  Activation activation = attrs.activation;
  const Operands in(x, w, b, valid);
  const Tensor dy = dy_before(ctx, activation, [&] {
    return batch_norm(x, w, b, {.eps = attrs.eps, .axis = attrs.axis, .valid = valid}).y;
  });
  const Tensor dy_values = raw::contiguous(dy);
  NormGradients grads = wanted(ctx, x, mean.shape());
  dispatch_floating(x.dtype(), "batch_norm", [&]<class T>() {
    kernels::batch_norm_backward<T>(channels_of(x, attrs.axis), attrs.eps, in.input<T>(activation),
                                    mean.data<T>(), rstd.data<T>(), dy_values.data<T>(),
                                    grads.pointers<T>());
  });
  record_gradients(batch_norm_backward_op, grads, x, w, dy, valid, attrs);
  set_gradients(ctx, std::move(grads));
});

BatchNormResult batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& options) {
  const kernels::Channels sizes = check_batch_norm("batch_norm", x, weight, bias, options);
  const Operands in(x, weight, bias, options.valid);
  const int64_t count = check_count(sizes, x, in.valid);
  BatchNormResult result{empty_like(x), empty({sizes.channels}, x.dtype()),
                         empty({sizes.channels}, x.dtype()), count};
  Tensor rstd = empty({sizes.channels}, x.dtype());
  dispatch_floating(x.dtype(), "batch_norm", [&]<class T>() {
    kernels::batch_norm<T>(sizes, options.eps, in.input<T>(options.activation),
                           result.y.mutable_data<T>(), result.mean.mutable_data<T>(),
                           result.var.mutable_data<T>(), rstd.mutable_data<T>());
  });
  const Tensor& kept_bias = keep_if(options.activation == Activation::relu, bias);
  result.y = record(batch_norm_op, std::move(result.y), {x, weight, bias},
                    {x, weight, result.mean, rstd, in.valid, kept_bias},
                    BatchNormAttrs{options.axis, options.eps, options.activation});
  return result;
}

// y = (x - m) r w + b, m and r constants:  dx = w r dy, dw = sum dy (x - m) r, db = sum dy, for the
// dy that passes the activation
static Op batch_norm_inference_op("batch_norm_inference", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<BatchNormAttrs>();
  const Tensor x = ctx.kept(0), w = ctx.kept(1), mean = ctx.kept(2), rstd = ctx.kept(3),
               valid = ctx.kept(4);
  const bool relu = attrs.activation == Activation::relu;
  if (needs_grad(ctx.dy()) || needs_grad(x) || needs_grad(w)) {
    const NormGroups groups = batch_norm_groups(x, attrs.axis, valid);
    // In f64, since a product of two may leave f32 where that of all does not.
    const auto each = [&](const Tensor& v) { return reshape(cast(v, DType::f64), groups.shape); };
    const auto per_channel = [&](const Tensor& v) {
      return reshape(cast(v, DType::f64), groups.weights);
    };
    const auto set = [&](int i, const Tensor& v, const Shape& shape) {
      ctx.set(i, reshape(cast(v, x.dtype()), shape));
    };
    const auto passing = [&](const Tensor& v) {
      return clear_invalid(groups, relu ? relu_gradient(v, each(ctx.kept(5))) : v);
    };
    const Tensor g = passing(each(ctx.dy())), scaled = g * per_channel(rstd);
    const Tensor centred = clear_invalid(groups, each(x) - per_channel(mean));
    if (ctx.needs(0))  // 0 that has met a NaN is 0 again
      set(0, passing(w ? scaled * per_channel(w) : scaled), x.shape());
    if (ctx.needs(1)) set(1, sum_to(scaled * centred, groups.weights), mean.shape());
    if (ctx.needs(2)) set(2, sum_to(g, groups.weights), mean.shape());
    return;
  }
  const Tensor dy = relu ? relu_gradient(ctx.dy(), ctx.kept(5)) : ctx.dy();
  const Operands in(x, w, {}, valid);
  const Tensor dy_values = raw::contiguous(dy);
  NormGradients grads = wanted(ctx, x, mean.shape());
  dispatch_floating(x.dtype(), "batch_norm_inference", [&]<class T>() {
    kernels::batch_norm_backward_eval<T>(channels_of(x, attrs.axis), in.input<T>(Activation::none),
                                         mean.data<T>(), rstd.data<T>(), dy_values.data<T>(),
                                         grads.pointers<T>());
  });
  set_gradients(ctx, std::move(grads));
});

Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var,
                            const Tensor& weight, const Tensor& bias,
                            const BatchNormOptions& options) {
  const char* op = "batch_norm_inference";
  const kernels::Channels sizes = check_batch_norm(op, x, weight, bias, options);
  check_parameter(op, "mean", mean, x, {sizes.channels});
  check_parameter(op, "var", var, x, {sizes.channels});
  const Operands in(x, weight, bias, options.valid);
  const Tensor var_values = raw::contiguous(var);
  const Tensor kept_mean = raw::clone(mean);  // running statistics go on changing
  Tensor rstd = empty({sizes.channels}, x.dtype()), y = empty_like(x);
  dispatch_floating(x.dtype(), op, [&]<class T>() {
    kernels::batch_norm_rstd<T>(sizes.channels, options.eps, var_values.data<T>(),
                                rstd.mutable_data<T>());
    kernels::batch_norm_normalize<T>(sizes, in.input<T>(options.activation), kept_mean.data<T>(),
                                     rstd.data<T>(), y.mutable_data<T>());
  });
  const Tensor& kept_y = keep_if(options.activation == Activation::relu, y);
  return record(batch_norm_inference_op, y, {x, weight, bias},
                {x, weight, kept_mean, rstd, in.valid, kept_y},
                BatchNormAttrs{options.axis, options.eps, options.activation});
}

}  // namespace gradus
