#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

template <class F>
std::vector<OpSample> softmax_samples(F f) {
  std::vector<OpSample> samples;
  const std::pair<Shape, int64_t> cases[] = {{{3, 5}, -1}, {{4}, 0}, {{2, 3, 4}, 1}};
  for (const auto& [shape, axis] : cases)
    samples.push_back({str(shape) + " along " + std::to_string(axis),
                       {sample(shape, 1)},
                       [f, axis = axis](std::span<const Tensor> x) { return f(x[0], axis); }});
  return samples;
}

std::vector<OpSample> backward_samples(Tensor (*f)(const Tensor&, const Tensor&)) {
  return {{"(3, 4)",
           {sample({3, 4}, 1, 0.1, 0.9), sample({3, 4}, 2)},
           [f](std::span<const Tensor> x) { return f(x[0], x[1]); }}};
}

}  // namespace

static OpSamples softmax_row("softmax", [] { return softmax_samples(softmax); });

static OpSamples softmax_backward_row("softmax_backward",
                                      [] { return backward_samples(softmax_backward); });

static OpSamples log_softmax_row("log_softmax", [] { return softmax_samples(log_softmax); });

static OpSamples log_softmax_backward_row("log_softmax_backward", [] {
  return backward_samples([](const Tensor& x, const Tensor& dy) {
    return vjp([](const Tensor& logits) { return log_softmax(logits); }, x, dy);
  });
});

static OpSamples logsumexp_row("logsumexp", [] {
  return softmax_samples(
      [](const Tensor& x, int64_t axis) { return logsumexp(x, axis, axis == 1); });
});

}  // namespace gradus
