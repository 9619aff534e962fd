#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

Tensor sample_mask(const Shape& shape) { return less(sample(shape, 9), 0.9); }

/// The input at i, or none.
Tensor input_or_none(std::span<const Tensor> in, size_t i) {
  return i < in.size() ? in[i] : Tensor();
}

std::string label_of(const char* label, Activation activation) {
  return label + std::string(activation == Activation::relu ? ", relu" : "");
}

std::vector<OpSample> layer_norm_samples() {
  std::vector<OpSample> samples;
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const auto add = [&](const char* label, std::vector<Tensor> inputs, Shape shape, Tensor valid) {
      const LayerNormOptions options{.valid = valid, .activation = activation};
      samples.push_back(
          {label_of(label, activation), std::move(inputs), [=](std::span<const Tensor> in) {
             return layer_norm(in[0], shape, input_or_none(in, 1), input_or_none(in, 2), options);
           }});
    };
    const Tensor w = sample({5}, 2, 0.5, 2), b = sample({5}, 3);
    add("(3, 5) with weight and bias", {sample({3, 5}, 1), w, b}, {5}, {});
    add("(2, 3, 4) over two axes", {sample({2, 3, 4}, 1)}, {3, 4}, {});
    add("(4, 3, 5) masked", {sample({4, 3, 5}, 1), w, b}, {5}, sample_mask({4, 3}));
  }
  return samples;
}

std::vector<OpSample> group_norm_samples() {
  std::vector<OpSample> samples;
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const auto add = [&](const char* label, std::vector<Tensor> inputs, int64_t groups,
                         Tensor valid) {
      const GroupNormOptions options{.valid = valid, .activation = activation};
      samples.push_back(
          {label_of(label, activation), std::move(inputs), [=](std::span<const Tensor> in) {
             return group_norm(in[0], groups, input_or_none(in, 1), input_or_none(in, 2), options);
           }});
    };
    const Tensor w = sample({4}, 2, 0.5, 2), b = sample({4}, 3);
    add("(2, 4, 2, 3) with weight and bias", {sample({2, 4, 2, 3}, 1), w, b}, 2, {});
    add("(3, 6) of two groups", {sample({3, 6}, 1)}, 2, {});
    add("(2, 4, 3) a group a channel, with weight", {sample({2, 4, 3}, 1), w}, 4, {});
    add("(5, 4, 2) masked", {sample({5, 4, 2}, 1), w, b}, 1, sample_mask({5}));
  }
  return samples;
}

std::vector<OpSample> rms_norm_samples() {
  const auto add = [](const char* label, std::vector<Tensor> inputs, Shape shape, Tensor valid) {
    const RmsNormOptions options{.eps = 1e-3, .valid = valid};
    return OpSample{label, std::move(inputs), [=](std::span<const Tensor> in) {
                      return rms_norm(in[0], shape, input_or_none(in, 1), options);
                    }};
  };
  const Tensor w = sample({5}, 2, 0.5, 2);
  return {add("(3, 5) with weight", {sample({3, 5}, 1), w}, {5}, {}),
          add("(2, 3, 4) over two axes", {sample({2, 3, 4}, 1)}, {3, 4}, {}),
          add("(4, 3, 5) masked", {sample({4, 3, 5}, 1), w}, {5}, sample_mask({4, 3}))};
}

/// Of batch_norm or, not in training, of batch_norm_inference.
std::vector<OpSample> batch_norm_samples(bool training) {
  std::vector<OpSample> samples;
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const auto add = [&](const char* label, std::vector<Tensor> inputs, BatchNormOptions options) {
      options.activation = activation;
      samples.push_back(
          {label_of(label, activation), std::move(inputs), [=](std::span<const Tensor> in) {
             const Tensor w = input_or_none(in, 1), b = input_or_none(in, 2);
             if (training) return batch_norm(in[0], w, b, options).y;
             const int64_t c = in[0].size(options.axis == ChannelAxis::last ? -1 : 1);
             const Tensor mean = sample({c}, 7).set_requires_grad(false),
                          var = sample({c}, 8, 0.5, 2).set_requires_grad(false);
             return batch_norm_inference(in[0], mean, var, w, b, options);
           }});
    };
    const Tensor w = sample({2}, 2, 0.5, 2), b = sample({2}, 3);
    add("(5, 3) with weight and bias", {sample({5, 3}, 1), sample({3}, 2, 0.5, 2), sample({3}, 3)},
        {});
    add("(3, 2, 4)", {sample({3, 2, 4}, 1)}, {});
    add("(3, 2, 2, 3) with weight", {sample({3, 2, 2, 3}, 1), w}, {});
    add("(3, 4, 2) channels last, masked", {sample({3, 4, 2}, 1), w, b},
        {.axis = ChannelAxis::last, .valid = sample_mask({3, 4})});
  }
  return samples;
}

}  // namespace

static OpSamples layer_norm_row("layer_norm", layer_norm_samples);

static OpSamples group_norm_row("group_norm", group_norm_samples);

static OpSamples rms_norm_row("rms_norm", rms_norm_samples);

static OpSamples batch_norm_row("batch_norm", [] { return batch_norm_samples(true); });

static OpSamples batch_norm_inference_row("batch_norm_inference",
                                          [] { return batch_norm_samples(false); });

}  // namespace gradus
