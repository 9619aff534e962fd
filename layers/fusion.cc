#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/fusion.h>

namespace gradus {

namespace {

void check_fusion(const char* what, const Module& layer, int64_t outputs, const BatchNorm& bn) {
  check(static_cast<bool>(bn.running_mean), "{}: the {} has no running statistics", what,
        bn.describe());
  check(!layer.training() && (!bn.training() || bn.frozen()),
        "{}: {} and {} are fused for evaluation, but train; call eval() first", what,
        layer.describe(), bn.describe());
  check(bn.channels() == outputs, "{}: {} behind {}", what, bn.describe(), layer.describe());
}

/// Gives `to` the map of `from` and then bn. All is computed in f64 and rounded once.
template <class Layer>
void fuse(const Layer& from, const BatchNorm& bn, Layer& to) {
  const NoRecord pause;
  const auto wide = [](const Tensor& v) { return cast(v, DType::f64); };
  const Shape per_output{bn.channels()};
  Tensor scale = rsqrt(wide(bn.running_var) + bn.options().eps);
  if (bn.weight) scale = scale * wide(bn.weight);
  Tensor shift = from.bias ? wide(from.bias) : zeros(per_output, DType::f64);
  shift = (shift - wide(bn.running_mean)) * scale;
  if (bn.bias) shift = shift + wide(bn.bias);
  Shape rows = per_output;
  while (rows.ndim() < from.weight.ndim()) rows.push_back(1);
  const DType dtype = from.weight.dtype();
  to.eval();
  to.to(dtype);
  raw::copy(cast(wide(from.weight) * reshape(scale, rows), dtype), to.weight);
  raw::copy(cast(shift, dtype), to.bias);
}

}  // namespace

Conv2d fuse_conv_bn_eval(const Conv2d& conv, const BatchNorm& bn) {
  const char* const what = "fuse_conv_bn_eval";
  check_fusion(what, conv, conv.weight.size(0), bn);
  check(bn.options().activation == Activation::none && !bn.options().channels_last,
        "{}: {} has an activation or its channels last, which {} has not", what, bn.describe(),
        conv.describe());
  Conv2d fused = conv;
  if (!fused.bias) fused.bias = Parameter({bn.channels()}, Init::zeros());
  fuse(conv, bn, fused);
  return fused;
}

Linear fuse_linear_bn_eval(const Linear& linear, const BatchNorm& bn) {
  const char* const what = "fuse_linear_bn_eval";
  check_fusion(what, linear, linear.weight.size(0), bn);
  check(linear.options().activation == Activation::none,
        "{}: {} has an activation, behind which {} cannot go", what, linear.describe(),
        bn.describe());
  Linear fused = linear;
  fused.options_.activation = bn.options().activation;
  fused.rows_alone_ = linear.rows_alone_ || !bn.options().channels_last;
  if (!fused.bias) fused.bias = Parameter({bn.channels()}, Init::zeros());
  fuse(linear, bn, fused);
  return fused;
}

}  // namespace gradus
