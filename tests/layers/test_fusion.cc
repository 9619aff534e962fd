#define BOOST_TEST_MODULE fusion
#include <gradus/layers/fusion.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

/// A norm in evaluation, whose numbers are none of the first ones.
BatchNorm norm(int64_t channels, BatchNormLayerOptions options = {}) {
  BatchNorm bn(channels, options);
  bn.to(DType::f64);
  raw::copy(wave({channels}, 1, 0.9, 0.3), bn.running_mean);
  raw::copy(wave({channels}, 0.5, 1.7, 1.2), bn.running_var);
  if (options.affine) {
    raw::copy(wave({channels}, 1, 0.4, 1.5), bn.weight);
    raw::copy(wave({channels}, 1, 2.3), bn.bias);
  }
  bn.eval();
  return bn;
}

template <class Layer, class Fuse>
void check_fused(Layer layer, BatchNorm bn, const Tensor& x, Fuse fuse) {
  layer.eval();
  for (DType dtype : {DType::f64, DType::f32}) {
    layer.to(dtype);
    bn.to(dtype);
    const Tensor at = raw::cast(x, dtype);
    const std::vector<double> before = layer.weight.template to_vector<double>();
    Layer fused = fuse(layer, bn);
    check_close(layer.describe() + ", " + bn.describe(), fused(at),
                bn(layer(at)).template to_vector<double>(), dtype == DType::f64 ? 1e-13 : 1e-5);
    BOOST_TEST((fused.weight.dtype() == dtype));
    BOOST_TEST(fused.weight.requires_grad());
    BOOST_TEST(!fused.training());
    BOOST_TEST(layer.weight.template to_vector<double>() == before);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_layer_computes_what_both_do_in_evaluation) {
  const Tensor images = wave({3, 4, 5, 6}, 2, 0.7), rows = wave({3, 2, 5}, 2, 0.7);
  for (bool bias : {true, false})
    for (bool affine : {true, false}) {
      check_fused(Conv2d(4, 6, 3, {.stride = 2, .padding = 1, .groups = 2, .bias = bias}),
                  norm(6, {.eps = 0.01, .affine = affine}), images, fuse_conv_bn_eval);
      check_fused(Linear(5, 4, {.bias = bias}), norm(4, {.affine = affine, .channels_last = true}),
                  rows, fuse_linear_bn_eval);
    }
  check_fused(Linear(5, 4), norm(4, {.channels_last = true, .activation = Activation::relu}), rows,
              fuse_linear_bn_eval);
}

// bn of (N, T, out) goes by T, which no Linear does.
BOOST_AUTO_TEST_CASE(a_norm_of_axis_1_takes_rows_alone) {
  for (bool bias : {true, false}) {
    Linear linear(5, 4, {.bias = bias});
    check_fused(linear, norm(4), wave({3, 5}, 2, 0.7), fuse_linear_bn_eval);
    linear.to(DType::f64);
    linear.eval();
    const BatchNorm last = norm(4, {.channels_last = true});
    Linear fused = fuse_linear_bn_eval(linear, norm(4));
    for (Linear layer : {fused, Linear(fused), fuse_linear_bn_eval(fused, last)})
      BOOST_CHECK_EXCEPTION(layer(wave({3, 4, 5}, 2, 0.7)), Error,
                            says("x (3, 4, 5) is not (N, 5), as a BatchNorm of axis 1"));
    linear(wave({3, 4, 5}, 2, 0.7));
  }
}

BOOST_AUTO_TEST_CASE(nothing_is_drawn) {
  Linear linear(5, 4);
  Conv2d conv(2, 4, 3, {.bias = false});
  linear.eval();
  conv.eval();
  const BatchNorm bn = norm(4);
  const auto before = default_generator().state();
  fuse_linear_bn_eval(linear, bn);
  fuse_conv_bn_eval(conv, bn);
  BOOST_TEST((default_generator().state() == before));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_fused_is_refused) {
  Conv2d conv(2, 3, 3);
  Linear linear(2, 3), with_relu(2, 3, {.activation = Activation::relu});
  BatchNorm bn = norm(3), training = bn, other = norm(4);
  training.train();
  BOOST_CHECK_EXCEPTION(fuse_conv_bn_eval(conv, bn), Error, says("but train; call eval()"));
  for (Module* layer : std::initializer_list<Module*>{&conv, &linear, &with_relu}) layer->eval();
  BOOST_CHECK_EXCEPTION(fuse_conv_bn_eval(conv, training), Error, says("but train; call eval()"));
  BOOST_CHECK_EXCEPTION(fuse_linear_bn_eval(linear, other), Error,
                        says("BatchNorm(4) behind Linear(2, 3)"));
  BOOST_CHECK_EXCEPTION(fuse_conv_bn_eval(conv, norm(3, {.activation = Activation::relu})), Error,
                        says("has an activation"));
  BOOST_CHECK_EXCEPTION(fuse_linear_bn_eval(with_relu, bn), Error, says("has an activation"));
  BatchNorm untracked(3, {.track_running_stats = false});
  untracked.eval();
  BOOST_CHECK_EXCEPTION(fuse_linear_bn_eval(linear, untracked), Error,
                        says("has no running statistics"));
  training.freeze_statistics();
  fuse_linear_bn_eval(linear, training);
}
