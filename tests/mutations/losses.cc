#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>

#include <cmath>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

namespace {

const Function kSoftmax = [](const Tensor& x) { return softmax(x); };
const Function kLogSoftmax = [](const Tensor& x) { return log_softmax(x); };
const Function kLogSumExp = [](const Tensor& x) { return logsumexp(x); };
const Function kSoftmaxBackward = [](const Tensor& y, const Tensor& dy) {
  return softmax_backward(y, dy);
};

Tensor labels() { return Tensor::of({2, 0, 1, 2}, DType::i64); }
const Function kMeanLoss = [](const Tensor& x) { return cross_entropy(x, labels()); };
const Function kEachLoss = [](const Tensor& x) {
  return cross_entropy(x, labels(), {.reduction = Reduction::none});
};
const Function kIgnoring = [](const Tensor& x) {
  return cross_entropy(x, labels(), {.ignore_index = 2, .reduction = Reduction::none});
};
const Function kSmoothed = [](const Tensor& x) {
  return cross_entropy(x, labels(), {.label_smoothing = 0.2});
};
const Function kSquares = [](const Tensor& x, const Tensor& t) { return mse_loss(x, t); };
const Function kHuber = [](const Tensor& x, const Tensor& t) {
  return huber_loss(x, t, 0.7, Reduction::none);
};
Tensor row_weights() { return reshape(Tensor::of({0.5, 1.5, 2}, DType::f64), {3, 1}); }
const Function kWeighted = [](const Tensor& x, const Tensor& t) {
  return binary_cross_entropy_with_logits(x, t,
                                          {.weight = row_weights(), .reduction = Reduction::none});
};
const Function kBinary = [](const Tensor& x, const Tensor& t) {
  return binary_cross_entropy_with_logits(x, t);
};

std::function<Trial(uint64_t)> of_target(double low, double high, Function f) {
  return [=](uint64_t seed) {
    return Trial{{normal({3, 5}, seed, "x"), between(low, high, {3, 5}, seed, "target")}, f};
  };
}

std::function<Trial(uint64_t)> of_qkv(int64_t keys, AttentionOptions options) {
  return [=](uint64_t seed) {
    return Trial{{normal({2, 4, 3}, seed, "q"), normal({2, keys, 3}, seed, "k"),
                  normal({2, keys, 2}, seed, "v")},
                 [=](const Tensor& q, const Tensor& k, const Tensor& v) {
                   return scaled_dot_product_attention(q, k, v, options);
                 }};
  };
}

/// Attention's backward pass: gradients of q, k and v as combinations of these. Bias: what the
/// trial's mask adds to the scores, or none.
struct AttentionStages {
  explicit AttentionStages(Backward& c, const Tensor& bias = {})
      : q(c.kept(0)),
        k(c.kept(1)),
        v(c.kept(2)),
        p(softmax(scores(q, k, bias))),
        dp(matmul(c.dy(), v, false, true)),
        s(softmax_backward(p, dp) / std::sqrt(3.0)),
        dv(matmul(p, c.dy(), true)) {}
  Tensor q, k, v, p, dp, s, dv;

  static Tensor scores(const Tensor& q, const Tensor& k, const Tensor& bias) {
    const Tensor plain = matmul(q, k, false, true) / std::sqrt(3.0);
    return bias ? plain + bias : plain;
  }
  void set(Backward& c, const Tensor& ds, const Tensor& values) const {
    c.set(0, matmul(ds, k));
    c.set(1, matmul(ds, q, true));
    c.set(2, values);
  }
};

}  // namespace

std::vector<Mutant> loss_mutants() {
  const char *const softmax_family = "softmax", *const loss = "loss",
                    *const attention = "attention";
  return {
      {softmax_family,
       "softmax",
       "the sum's term dropped",
       [](Backward& c) { c.set(0, c.kept(0) * c.dy()); },
       of_x({3, 5}, kSoftmax),
       {"x"}},
      {softmax_family,
       "softmax",
       "the sum along the wrong axis of a square",
       [](Backward& c) {
         const Tensor y = c.kept(0);
         c.set(0, y * (c.dy() - sum(y * c.dy(), {0}, true)));
       },
       of_x({5, 5}, kSoftmax),
       {"x"},
       Pattern::wrong_axis},
      {softmax_family,
       "softmax",
       "dx divided by the row's length",
       [](Backward& c) { c.set(0, softmax_backward(c.kept(0), c.dy()) / 5); },
       of_x({3, 5}, kSoftmax),
       {"x"},
       Pattern::factor},
      {softmax_family,
       "softmax_backward",
       "the second term of dy's part dropped",
       [](Backward& c) {
         const Tensor y = c.kept(0), dy = c.kept(1);
         c.set(0, c.dy() * (dy - sum(dy * y, {-1}, true)));
         c.set(1, softmax_backward(y, c.dy()));
       },
       [](uint64_t seed) {
         return Trial{{between(0.1, 0.9, {3, 4}, seed, "y"), normal({3, 4}, seed, "dy")},
                      kSoftmaxBackward};
       },
       {"y"}},
      {softmax_family,
       "log_softmax",
       "the sum's term dropped",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({3, 5}, kLogSoftmax),
       {"x"}},
      {softmax_family,
       "log_softmax",
       "the mean for the sum",
       [](Backward& c) { c.set(0, c.dy() - exp(c.kept(0)) * mean(c.dy(), {-1}, true)); },
       of_x({3, 5}, kLogSoftmax),
       {"x"}},
      {softmax_family,
       "logsumexp",
       "the maximum's gradient",
       [](Backward& c) {
         const Tensor x = c.kept(0);
         c.set(0, cast(equal(x, max(x, {1}, true)), DType::f64) * reshape(c.dy(), {3, 1}));
       },
       of_x({3, 5}, kLogSumExp),
       {"x"}},

      {loss,
       "cross_entropy",
       "not divided by the number of rows",
       [](Backward& c) { c.set(0, right(kMeanLoss, {c.kept(0)}, c.dy())[0] * 4); },
       of_x({4, 3}, kMeanLoss),
       {"x"},
       Pattern::factor},
      {loss,
       "cross_entropy",
       "the label's term dropped",
       [](Backward& c) {
         c.set(0, softmax(c.kept(0)) * reshape(c.dy(), {4, 1}));
       },
       of_x({4, 3}, kEachLoss),
       {"x"}},
      {loss,
       "cross_entropy",
       "ignored labels not masked",
       [](Backward& c) { c.set(0, right(kEachLoss, {c.kept(0)}, c.dy())[0]); },
       of_x({4, 3}, kIgnoring),
       {"x"},
       Pattern::mask_not_applied},
      {loss,
       "cross_entropy",
       "smoothing left out",
       [](Backward& c) { c.set(0, right(kMeanLoss, {c.kept(0)}, c.dy())[0]); },
       of_x({4, 3}, kSmoothed),
       {"x"}},
      {loss,
       "cross_entropy",
       "one entry off by 1e-6",
       [](Backward& c) {
         c.set(0, with_entry(right(kMeanLoss, {c.kept(0)}, c.dy())[0], 4, 1 + 1e-6));
       },
       of_x({4, 3}, kMeanLoss),
       {"x"},
       Pattern::factor},
      {loss,
       "mse_loss",
       "the factor 2 dropped",
       [](Backward& c) {
         const Tensor d = (c.kept(0) - c.kept(1)) * c.dy() / 15;
         c.set(0, d);
         c.set(1, -d * 2);
       },
       of_target(-2, 2, kSquares),
       {"x"},
       Pattern::factor},
      {loss,
       "mse_loss",
       "the target detached",
       [](Backward& c) { c.set(0, (c.kept(0) - c.kept(1)) * c.dy() * (2.0 / 15)); },
       of_target(-2, 2, kSquares),
       {"target"},
       Pattern::no_gradient},
      {loss,
       "mse_loss",
       "the target's gradient with x's sign",
       [](Backward& c) {
         const Tensor d = (c.kept(0) - c.kept(1)) * c.dy() * (2.0 / 15);
         c.set(0, d);
         c.set(1, d);
       },
       of_target(-2, 2, kSquares),
       {"target"},
       Pattern::factor},
      {loss,
       "huber_loss",
       "not limited to delta",
       [](Backward& c) {
         const Tensor d = (c.kept(0) - c.kept(1)) * c.dy();
         c.set(0, d);
         c.set(1, -clamp(c.kept(0) - c.kept(1), -0.7, 0.7) * c.dy());
       },
       of_target(-2, 2, kHuber),
       {"x"}},
      {loss,
       "binary_cross_entropy_with_logits",
       "weights left out",
       [](Backward& c) {
         const std::vector<Tensor> d = right(kWeighted, {c.kept(0), c.kept(1)}, c.dy());
         c.set(0, d[0] / row_weights());
         c.set(1, d[1]);
       },
       of_target(0.1, 0.9, kWeighted),
       {"x"},
       Pattern::factor_per_group},
      {loss,
       "binary_cross_entropy_with_logits",
       "the wrong sign",
       [](Backward& c) {
         const std::vector<Tensor> d = right(kBinary, {c.kept(0), c.kept(1)}, c.dy());
         c.set(0, -d[0]);
         c.set(1, d[1]);
       },
       of_target(0.1, 0.9, kBinary),
       {"x"},
       Pattern::factor},

      {attention,
       "attention",
       "the scale left out of dq and dk",
       [](Backward& c) {
         const AttentionStages a(c);
         a.set(c, a.s * std::sqrt(3.0), a.dv);
       },
       of_qkv(5, {}),
       {"q", "k"},
       Pattern::factor},
      {attention,
       "attention",
       "softmax's sum dropped",
       [](Backward& c) {
         const AttentionStages a(c);
         a.set(c, a.p * a.dp / std::sqrt(3.0), a.dv);
       },
       of_qkv(5, {}),
       {"q", "k"}},
      {attention,
       "attention",
       "dk = s q for s^T q, as many keys as queries",
       [](Backward& c) {
         const AttentionStages a(c);
         c.set(0, matmul(a.s, a.k));
         c.set(1, matmul(a.s, a.q));
         c.set(2, a.dv);
       },
       of_qkv(4, {}),
       {"k"},
       Pattern::transposition},
      {attention,
       "attention",
       "the causal mask left out of dv",
       [](Backward& c) {
         const Tensor past = less_equal(reshape(arange(4), {1, 4}), reshape(arange(4), {4, 1}));
         const AttentionStages a(c, log(cast(past, DType::f64))), all(c);
         a.set(c, a.s, all.dv);
       },
       of_qkv(4, {.causal = true}),
       {"v"},
       Pattern::mask_not_applied},
      {attention,
       "attention",
       "v without gradient",
       [](Backward& c) {
         const AttentionStages a(c);
         c.set(0, matmul(a.s, a.k));
         c.set(1, matmul(a.s, a.q, true));
       },
       of_qkv(5, {}),
       {"v"},
       Pattern::no_gradient},
  };
}

}  // namespace gradus::mutations
