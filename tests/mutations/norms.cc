#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

namespace {

constexpr double kEps = 1e-5;

const Function kLayerNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return layer_norm(x, {x.size(-1)}, w, b, {.eps = kEps});
};
Tensor sample_mask() {
  Generator generator(4);
  return less(rand({4, 3}, generator, DType::f64), 0.7);
}
const Function kMaskedLayerNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return layer_norm(x, {5}, w, b, {.eps = kEps, .valid = sample_mask()});
};
const Function kBatchNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return batch_norm(x, w, b, {.eps = kEps}).y;
};
const Function kBatchNormRelu = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return batch_norm(x, w, b, {.eps = kEps, .activation = Activation::relu}).y;
};
const Function kLayerNormRelu = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return layer_norm(x, {x.size(-1)}, w, b, {.eps = kEps, .activation = Activation::relu});
};
Tensor given_mean() { return Tensor::of({0.3, -0.2, 0.5, 0.1}, DType::f64); }
Tensor given_var() { return Tensor::of({0.7, 1.3, 2.1, 0.4}, DType::f64); }
const Function kInferenceRelu = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return batch_norm_inference(x, given_mean(), given_var(), w, b,
                              {.eps = kEps, .activation = Activation::relu});
};
const Function kInference = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return batch_norm_inference(x, given_mean(), given_var(), w, b, {.eps = kEps});
};

/// A norm's backward pass in stages, from what the op kept.
struct Stages {
  Stages(bool batch, Backward& c)
      : x(c.kept(0)),
        w(c.kept(1)),
        groups(batch ? batch_norm_groups(x) : layer_norm_groups(x, w.shape(), c.kept(4))),
        f(norm_forward(groups, x, w, {}, kEps)),
        b(norm_backward(groups, f, w, c.dy())) {}

  void set(Backward& c, const Tensor& dx) const { set(c, dx, b.dweight, b.dbias); }
  void set(Backward& c, const Tensor& dx, const Tensor& dweight, const Tensor& dbias) const {
    c.set(0, reshape(dx, x.shape()));
    c.set(1, dweight);
    c.set(2, dbias);
  }
  /// All gradients as if x^ had been made with these.
  void set_with(Backward& c, const Tensor& mean, const Tensor& variance) const {
    const NormForward other = normalize_with(groups, x, mean, variance, w, {}, kEps);
    const NormBackward d = norm_backward(groups, other, w, c.dy());
    set(c, d.dx, d.dweight, d.dbias);
  }

  Tensor x, w;
  NormGroups groups;
  NormForward f;
  NormBackward b;
};

template <bool batch>
void no_mean_term(Backward& c) {
  const Stages s(batch, c);
  s.set(c, s.b.direct - s.b.variance_term);
}
template <bool batch>
void no_variance_term(Backward& c) {
  const Stages s(batch, c);
  s.set(c, s.b.direct - s.b.mean_term);
}
template <bool batch>
void constant_statistics(Backward& c) {
  const Stages s(batch, c);
  s.set(c, s.b.direct);
}
template <bool batch>
void n_minus_1(Backward& c) {
  const Stages s(batch, c);
  s.set(c,
        s.b.direct - s.b.mean_term - s.b.variance_term * (s.groups.count / (s.groups.count - 1)));
}
template <bool batch>
void mean_summed(Backward& c) {
  const Stages s(batch, c);
  s.set(c, s.b.direct - s.b.mean_term * s.groups.count - s.b.variance_term);
}
template <bool batch>
void unbiased_deviation(Backward& c) {
  const Stages s(batch, c);
  s.set_with(c, s.f.mean, s.f.variance * (s.groups.count / (s.groups.count - 1)));
}
template <bool batch>
void stale(Backward& c) {
  const Stages s(batch, c);
  s.set_with(c, s.f.mean * 0.9 + 0.1, s.f.variance * 0.9 + 0.1);
}
template <bool batch>
void eps_outside_root(Backward& c) {
  const Stages s(batch, c);
  const Tensor rstd = 1.0 / (sqrt(s.f.variance) + kEps);
  s.set(c, reshape(s.b.dx, s.groups.shape) * (rstd / s.f.rstd));
}
template <bool batch>
void one_pass(Backward& c) {
  const Stages s(batch, c);
  const Tensor x = reshape(s.x, s.groups.shape);
  s.set_with(c, s.f.mean, group_mean(s.groups, square(x)) - square(s.f.mean));
}
template <bool batch>
void wrong_axis(Backward& c) {
  const Stages s(batch, c);
  s.set(c, s.b.direct - mean(s.b.direct, {batch ? 1 : 0}, true) - s.b.variance_term);
}
template <bool batch>
void weight_without_mean(Backward& c) {
  const Stages s(batch, c);
  const Tensor x = reshape(s.x, s.groups.shape), dy = reshape(c.dy(), s.groups.shape);
  s.set(c, s.b.dx, reshape(sum_to(dy * x * s.f.rstd, s.groups.weights), s.w.shape()), s.b.dbias);
}
template <bool batch>
void weight_not_in_g(Backward& c) {
  const Stages s(batch, c);
  const NormBackward d = norm_backward(s.groups, s.f, {}, c.dy());
  s.set(c, d.dx);
}

void no_gradient_of_x(Backward& c) {
  const Stages s(false, c);
  c.set(1, s.b.dweight);
  c.set(2, s.b.dbias);
}

}  // namespace

std::vector<Mutant> norm_mutants() {
  const char *const ln = "LayerNorm", *const bn = "BatchNorm";
  const auto rows = of_layer({6, 5}, {5}, {5}, kLayerNorm);
  const auto masked = of_layer({4, 3, 5}, {5}, {5}, kMaskedLayerNorm);
  const auto batch = of_layer({6, 4}, {4}, {4}, kBatchNorm);
  const auto batch_relu = of_layer({6, 4}, {4}, {4}, kBatchNormRelu);
  const auto wide = of_layer({16, 12}, {12}, {12}, kBatchNorm);
  const auto large = of_layer({32, 64}, {64}, {64}, kBatchNorm);
  const auto images = of_layer({3, 4, 2, 5}, {4}, {4}, kBatchNorm);
  const auto inference = of_layer({5, 4}, {4}, {4}, kInference);
  const auto far = [](const Shape& shape, Function f) {
    return [=](uint64_t seed) {
      const int64_t weights = shape.back();
      return Trial{{normal(shape, seed, "x", 1e6), normal({weights}, seed, "weight"),
                    normal({weights}, seed, "bias")},
                   f};
    };
  };
  return {
      {ln, "layer_norm", "mean term dropped", no_mean_term<false>, rows, {"x"}, Pattern::mean_term},
      {ln,
       "layer_norm",
       "variance term dropped",
       no_variance_term<false>,
       rows,
       {"x"},
       Pattern::variance_term},
      {ln,
       "layer_norm",
       "statistics detached",
       constant_statistics<false>,
       rows,
       {"x"},
       Pattern::constant_statistics},
      {ln,
       "layer_norm",
       "no gradient of x (candle#3011)",
       no_gradient_of_x,
       rows,
       {"x"},
       Pattern::no_gradient},
      {ln,
       "layer_norm",
       "the mean's gradient summed, not averaged (as mlpack#1923)",
       mean_summed<false>,
       rows,
       {"x"},
       Pattern::mean_term},
      {ln,
       "layer_norm",
       "eps outside the root (burn#2185)",
       eps_outside_root<false>,
       rows,
       {"x"},
       Pattern::factor_per_group},
      {ln,
       "layer_norm",
       "mean along the wrong axis",
       wrong_axis<false>,
       rows,
       {"x"},
       Pattern::wrong_axis},
      {ln,
       "layer_norm",
       "mean along the wrong axis of a square (as RubixML/ML#423)",
       wrong_axis<false>,
       of_layer({5, 5}, {5}, {5}, kLayerNorm),
       {"x"},
       Pattern::wrong_axis},
      {ln,
       "layer_norm",
       "one-pass variance, mean 1e6 (as dlib, pytorch#51102)",
       one_pass<false>,
       far({6, 5}, kLayerNorm),
       {"x", "weight"},
       Pattern::stale_statistics},
      {ln,
       "layer_norm",
       "stale statistics",
       stale<false>,
       rows,
       {"x", "weight"},
       Pattern::stale_statistics},
      {ln,
       "layer_norm",
       "the weight left out of g",
       weight_not_in_g<false>,
       rows,
       {"x"},
       Pattern::factor_per_group},
      {ln,
       "layer_norm",
       "dw = sum dy x r, the mean not taken off",
       weight_without_mean<false>,
       rows,
       {"weight"},
       Pattern::mean_term},
      {ln,
       "layer_norm",
       "db counted twice",
       [](Backward& c) {
         const Stages s(false, c);
         s.set(c, s.b.dx, s.b.dweight, s.b.dbias * 2);
       },
       rows,
       {"bias"},
       Pattern::factor},
      {ln,
       "layer_norm",
       "one entry of dw off by 1e-6",
       [](Backward& c) {
         const Stages s(false, c);
         s.set(c, s.b.dx, with_entry(s.b.dweight, 3, 1 + 1e-6), s.b.dbias);
       },
       rows,
       {"weight"},
       Pattern::factor},
      {ln,
       "layer_norm",
       "mask not applied to dx",
       [](Backward& c) {
         const Stages s(false, c);
         const NormGroups all = layer_norm_groups(s.x, s.w.shape());
         s.set(c, norm_backward(all, norm_forward(all, s.x, s.w, {}, kEps), s.w, c.dy()).dx);
       },
       masked,
       {"x"},
       Pattern::mask_not_applied},
      {ln,
       "layer_norm",
       "relu: mask not applied",
       [](Backward& c) {
         const Stages s(false, c);
         s.set(c, s.b.dx);
       },
       of_layer({6, 5}, {5}, {5}, kLayerNormRelu),
       {"x", "weight", "bias"},
       Pattern::mask_not_applied},

      {bn,
       "batch_norm",
       "dx = 0, (32, 64)",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, zeros_like(s.x));
       },
       large,
       {"x"},
       Pattern::no_gradient},
      {bn,
       "batch_norm",
       "dx times two",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, s.b.dx * 2);
       },
       wide,
       {"x"},
       Pattern::factor},
      {bn,
       "batch_norm",
       "dx times N / (N - 1), (32, 64)",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, s.b.dx * (s.groups.count / (s.groups.count - 1)));
       },
       large,
       {"x"},
       Pattern::factor},
      {bn, "batch_norm", "mean term dropped", no_mean_term<true>, batch, {"x"}, Pattern::mean_term},
      {bn,
       "batch_norm",
       "variance term dropped, (16, 12)",
       no_variance_term<true>,
       wide,
       {"x"},
       Pattern::variance_term},
      {bn,
       "batch_norm",
       "variance term dropped, (32, 64)",
       no_variance_term<true>,
       large,
       {"x"},
       Pattern::variance_term},
      {bn,
       "batch_norm",
       "variance term dropped, images",
       no_variance_term<true>,
       images,
       {"x"},
       Pattern::variance_term},
      {bn,
       "batch_norm",
       "statistics detached, images",
       constant_statistics<true>,
       images,
       {"x"},
       Pattern::constant_statistics},
      {bn,
       "batch_norm",
       "N - 1 for N in the variance's gradient (tiny-dnn)",
       n_minus_1<true>,
       batch,
       {"x"},
       Pattern::variance_term},
      {bn,
       "batch_norm",
       "the unbiased deviation (tiny-dnn's forward)",
       unbiased_deviation<true>,
       batch,
       {"x", "weight"},
       Pattern::stale_statistics},
      {bn,
       "batch_norm",
       "the mean's gradient summed, not averaged (mlpack#1923)",
       mean_summed<true>,
       batch,
       {"x"},
       Pattern::mean_term},
      {bn,
       "batch_norm",
       "a term too much in the mean's gradient (as mxnet#1053)",
       [](Backward& c) {
         const Stages s(true, c);
         const Tensor term = s.f.rstd * s.b.mean_g_xhat / s.groups.count;
         s.set(c, reshape(s.b.dx, s.groups.shape) + term);
       },
       batch,
       {"x"},
       Pattern::mean_term},
      {bn,
       "batch_norm",
       "eps outside the root (burn#2185)",
       eps_outside_root<true>,
       batch,
       {"x"},
       Pattern::factor_per_group},
      {bn,
       "batch_norm",
       "mean along the wrong axis of a square",
       wrong_axis<true>,
       of_layer({5, 5}, {5}, {5}, kBatchNorm),
       {"x"},
       Pattern::wrong_axis},
      {bn,
       "batch_norm",
       "one-pass variance, mean 1e6",
       one_pass<true>,
       far({6, 4}, kBatchNorm),
       {"x", "weight"},
       Pattern::stale_statistics},
      {bn,
       "batch_norm",
       "stale statistics",
       stale<true>,
       batch,
       {"x", "weight"},
       Pattern::stale_statistics},
      {bn,
       "batch_norm",
       "the weight left out of g",
       weight_not_in_g<true>,
       batch,
       {"x"},
       Pattern::factor_per_group},
      {bn,
       "batch_norm",
       "dw = sum dy x r, the mean not taken off",
       weight_without_mean<true>,
       batch,
       {"weight"},
       Pattern::mean_term},
      {bn,
       "batch_norm",
       "db of the first image alone",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, s.b.dx, s.b.dweight, sum(select(c.dy(), 0, 0), {1, 2}));
       },
       images,
       {"bias"},
       Pattern::broadcast_unreduced},
      {bn,
       "batch_norm",
       "one entry of dx off by 1e-3",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, with_entry(s.b.dx, 9, 1 + 1e-3));
       },
       batch,
       {"x"},
       Pattern::factor},
      {bn,
       "batch_norm",
       "relu: mask not applied",
       [](Backward& c) {
         const Stages s(true, c);
         s.set(c, s.b.dx);
       },
       batch_relu,
       {"x", "weight", "bias"},
       Pattern::mask_not_applied},
      {bn,
       "batch_norm",
       "relu: mask applied to dx, not to dy",
       [](Backward& c) {
         const Stages s(true, c);
         const Tensor y = batch_norm(s.x, s.w, c.kept(5), {.eps = kEps}).y;
         s.set(c, relu_gradient(s.b.dx, y));
       },
       batch_relu,
       {"x", "weight", "bias"},
       Pattern::transposition},  // the mask on the other side of a symmetric matrix
      {bn,
       "batch_norm_inference",
       "the mean's gradient subtracted as in training",
       [](Backward& c) {
         const NormGroups groups = batch_norm_groups(c.kept(0));
         const Tensor x = reshape(c.kept(0), groups.shape);
         const std::vector<Tensor> d =
             right(kInference, {c.kept(0), c.kept(1), zeros({4}, DType::f64)}, c.dy());
         const Tensor dx = reshape(d[0], groups.shape);
         c.set(0, reshape(dx - group_mean(groups, dx), c.kept(0).shape()));
         c.set(1, d[1]);
         c.set(2, d[2]);
       },
       inference,
       {"x"},
       Pattern::mean_term},
      {bn,
       "batch_norm_inference",
       "relu: mask not applied",
       [](Backward& c) {
         const std::vector<Tensor> d =
             right(kInference, {c.kept(0), c.kept(1), zeros({4}, DType::f64)}, c.dy());
         for (int i = 0; i < 3; ++i) c.set(i, d[static_cast<size_t>(i)]);
       },
       of_layer({5, 4}, {4}, {4}, kInferenceRelu),
       {"x", "weight", "bias"},
       Pattern::mask_not_applied},
      {bn,
       "batch_norm_inference",
       "the weight left out of dx",
       [](Backward& c) {
         c.set(0, c.dy() * c.kept(3));
         const std::vector<Tensor> d =
             right(kInference, {c.kept(0), c.kept(1), zeros({4}, DType::f64)}, c.dy());
         c.set(1, d[1]);
         c.set(2, d[2]);
       },
       inference,
       {"x"},
       Pattern::factor_per_group},
      {bn,
       "batch_norm_inference",
       "dw averaged over the batch",
       [](Backward& c) {
         const std::vector<Tensor> d =
             right(kInference, {c.kept(0), c.kept(1), zeros({4}, DType::f64)}, c.dy());
         c.set(0, d[0]);
         c.set(1, d[1] / 5);
         c.set(2, d[2]);
       },
       inference,
       {"weight"},
       Pattern::factor},
  };
}

}  // namespace gradus::mutations
