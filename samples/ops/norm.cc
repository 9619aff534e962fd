#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_study.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

Tensor sample_mask(const Shape& shape) { return less(sample(shape, 9), 0.9); }

std::vector<OpSample> layer_norm_samples() {
  const auto run = [](Shape shape, Tensor valid) {
    return [=](std::span<const Tensor> x) {
      return layer_norm(x[0], shape, x.size() > 1 ? x[1] : Tensor(), x.size() > 2 ? x[2] : Tensor(),
                        1e-5, valid);
    };
  };
  return {{"(3, 5) with weight and bias",
           {sample({3, 5}, 1), sample({5}, 2, 0.5, 2), sample({5}, 3)},
           run({5}, {})},
          {"(2, 3, 4) over two axes", {sample({2, 3, 4}, 1)}, run({3, 4}, {})},
          {"(4, 3, 5) masked",
           {sample({4, 3, 5}, 1), sample({5}, 2, 0.5, 2), sample({5}, 3)},
           run({5}, sample_mask({4, 3}))}};
}

/// Of batch_norm, batch_norm_relu or, with neither, batch_norm_inference.
std::vector<OpSample> batch_norm_samples(decltype(batch_norm)* training) {
  const auto run = [training](ChannelAxis axis, Tensor valid) {
    return [=](std::span<const Tensor> x) {
      const Tensor w = x.size() > 1 ? x[1] : Tensor(), b = x.size() > 2 ? x[2] : Tensor();
      if (training) return training(x[0], w, b, 1e-5, axis, valid).y;
      const int64_t c = x[0].size(axis == ChannelAxis::last ? -1 : 1);
      return batch_norm_inference(x[0], sample({c}, 7).set_requires_grad(false),
                                  sample({c}, 8, 0.5, 2).set_requires_grad(false), w, b, 1e-5, axis,
                                  valid);
    };
  };
  return {{"(5, 3) with weight and bias",
           {sample({5, 3}, 1), sample({3}, 2, 0.5, 2), sample({3}, 3)},
           run(ChannelAxis::second, {})},
          {"(3, 2, 4)", {sample({3, 2, 4}, 1)}, run(ChannelAxis::second, {})},
          {"(3, 2, 2, 3) with weight",
           {sample({3, 2, 2, 3}, 1), sample({2}, 2, 0.5, 2)},
           run(ChannelAxis::second, {})},
          {"(3, 4, 2) channels last, masked",
           {sample({3, 4, 2}, 1), sample({2}, 2, 0.5, 2), sample({2}, 3)},
           run(ChannelAxis::last, sample_mask({3, 4}))}};
}

}  // namespace

static OpSamples layer_norm_row("layer_norm", layer_norm_samples);

static OpSamples batch_norm_row("batch_norm", [] { return batch_norm_samples(batch_norm); });

static OpSamples batch_norm_relu_row("batch_norm_relu",
                                     [] { return batch_norm_samples(batch_norm_relu); });

static OpSamples batch_norm_inference_row("batch_norm_inference",
                                          [] { return batch_norm_samples(nullptr); });

}  // namespace gradus
