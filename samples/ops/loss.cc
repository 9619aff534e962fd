#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

constexpr Reduction kReductions[] = {Reduction::mean, Reduction::sum, Reduction::none};
const char* name(Reduction reduction) {
  return reduction == Reduction::mean ? "mean" : reduction == Reduction::sum ? "sum" : "none";
}

template <class F>
std::vector<OpSample> pair_samples(double low, double high, F f) {
  std::vector<OpSample> samples;
  for (Reduction reduction : kReductions)
    samples.push_back(
        {std::string("(3, 5) ") + name(reduction),
         {sample({3, 5}, 1), sample({3, 5}, 2, low, high)},
         [f, reduction](std::span<const Tensor> x) { return f(x[0], x[1], reduction); }});
  return samples;
}

}  // namespace

static OpSamples mse_loss_row("mse_loss", [] { return pair_samples(-2, 2, mse_loss); });

static OpSamples huber_loss_row("huber_loss", [] {
  return pair_samples(-2, 2, [](const Tensor& x, const Tensor& target, Reduction reduction) {
    return huber_loss(x, target, 0.7, reduction);
  });
});

static OpSamples binary_cross_entropy_row("binary_cross_entropy_with_logits", [] {
  auto samples =
      pair_samples(0.1, 0.9, [](const Tensor& x, const Tensor& target, Reduction reduction) {
        return binary_cross_entropy_with_logits(x, target, {.reduction = reduction});
      });
  auto with_weights =
      pair_samples(0.1, 0.9, [](const Tensor& x, const Tensor& target, Reduction reduction) {
        const Tensor w = sample({3, 1}, 3, 0.5, 2).set_requires_grad(false);
        const Tensor q = sample({5}, 4, 0.5, 3).set_requires_grad(false);
        return binary_cross_entropy_with_logits(x, target, {w, q, reduction});
      });
  for (OpSample& s : with_weights) {
    s.label += " with weights";
    samples.push_back(std::move(s));
  }
  return samples;
});

}  // namespace gradus
