#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/kernels/conv/conv.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/embedding.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/pool.h>
#include <gradus/layers/sequential.h>
#include <gradus/models/cnn.h>
#include <gradus/models/mlp.h>
#include <gradus/models/transformer.h>

#include <cmath>

#include "tests/mutations/module_trial.h"

namespace gradus::mutations {

namespace {

/// Of make()'s module and normals x; `forward` if its forward takes more than x.
template <class Make>
std::function<Trial(uint64_t)> of_module(const Shape& shape, Make make) {
  return [=](uint64_t seed) {
    return module_trial(seed, make(), {normal(shape, seed, "x")},
                        [](auto& m, std::span<const Tensor> x) { return m.forward(x[0]); });
  };
}

Tensor tokens() { return Tensor::of({{0, 2, 2, 4}, {1, 0, 2, 4}}, DType::i64); }

std::function<Trial(uint64_t)> of_embedding() {
  return [](uint64_t seed) {
    return module_trial(seed, Embedding(5, 3), {},
                        [](Embedding& m, std::span<const Tensor>) { return m.forward(tokens()); });
  };
}

std::function<Trial(uint64_t)> of_dropout() {
  return [](uint64_t seed) {
    return module_trial(seed, Dropout(0.4), {normal({4, 5}, seed, "x")},
                        [](Dropout& m, std::span<const Tensor> x) {
                          default_generator().set_state(Generator(7).state());
                          return m.forward(x[0]);
                        });
  };
}

std::function<Trial(uint64_t)> of_attention() {
  return [](uint64_t seed) {
    return module_trial(
        seed, MultiHeadAttention(4, 2), {normal({2, 3, 4}, seed, "x")},
        [](MultiHeadAttention& m, std::span<const Tensor> x) { return m.forward(x[0]); });
  };
}

std::function<Trial(uint64_t)> of_encoder(Norm norm) {
  return [norm](uint64_t seed) {
    return module_trial(seed, EncoderBlock({.dim = 4, .heads = 2, .mlp_dim = 3, .norm = norm}),
                        {normal({2, 3, 4}, seed, "x")},
                        [](EncoderBlock& m, std::span<const Tensor> x) { return m.forward(x[0]); });
  };
}

bool is_square(const Tensor& w) { return w.size(0) == w.size(1); }

}  // namespace

std::vector<Mutant> layer_mutants() {
  return {
      {"Linear",
       "linear",
       "dw counted twice",
       [](Backward& c) {
         right_backward(c);
         c.set(1, matmul(c.dy(), c.kept(0), true));
       },
       of_module({4, 5}, [] { return Linear(5, 3); }),
       {"weight"},
       Pattern::factor},
      {"Conv2d",
       "conv2d",
       "no gradient of the bias",
       [](Backward& c) {
         const Function f = [](const Tensor& x, const Tensor& w) {
           return conv2d(x, w, {}, {.padding = {1, 1}});
         };
         const std::vector<Tensor> d = right(f, {c.kept(0), c.kept(1)}, c.dy());
         c.set(0, d[0]);
         c.set(1, d[1]);
       },
       of_module({2, 2, 4, 5}, [] { return Conv2d(2, 3, 3, {.padding = 1}); }),
       {"bias"},
       Pattern::no_gradient},
      {"BatchNorm",
       "batch_norm",
       "the gradient of evaluation in training",
       [](Backward& c) {
         const Tensor scaled = c.dy() * c.kept(3);
         c.set(0, scaled * c.kept(1));
         c.set(1, sum(scaled * (c.kept(0) - c.kept(2)), {0}));
         c.set(2, sum(c.dy(), {0}));
       },
       of_module({6, 3}, [] { return BatchNorm(3); }),
       {"x"},
       Pattern::constant_statistics},
      {"BatchNorm",
       "batch_norm_inference",
       "in evaluation: db counted twice",
       [](Backward& c) {
         right_backward(c);
         c.set(2, sum(c.dy(), {0, 2}));
       },
       of_module({4, 3, 2},
                 [] {
                   BatchNorm norm(3);
                   norm.eval();
                   return norm;
                 }),
       {"bias"},
       Pattern::factor},
      {"LayerNorm",
       "layer_norm",
       "statistics detached",
       [](Backward& c) {
         right_backward(c);
         const Tensor mean = reshape(c.kept(2), {6, 1}), rstd = reshape(c.kept(3), {6, 1});
         const Tensor xhat = (c.kept(0) - mean) * rstd, g = c.dy() * c.kept(1);
         const auto mean_of = [](const Tensor& v) { return gradus::mean(v, {1}, true); };
         c.set(0, rstd * (mean_of(g) + xhat * mean_of(g * xhat)));
       },
       of_module({6, 5}, [] { return LayerNorm(5); }),
       {"x"},
       Pattern::constant_statistics},
      {"Embedding",
       "embedding",
       "the first token's row left out, as if it were padding",
       [](Backward& c) {
         const Function f = [](const Tensor& w) { return embedding(w, tokens()); };
         Tensor dw = copy_of(right(f, {zeros({5, 3}, DType::f64)}, c.dy())[0]);
         for (int64_t k = 0; k < 3; ++k) values(dw)[k] = 0;
         c.set(0, dw);
       },
       of_embedding(),
       {"weight"},
       Pattern::entries_missing},
      {"Dropout",
       "dropout",
       "mask not applied",
       [](Backward& c) { c.set(0, c.dy() / 0.6); },
       of_dropout(),
       {"x"},
       Pattern::mask_not_applied},
      {"Activation",
       "relu",
       "the gradient of the leaky one",
       [](Backward& c) { c.set(0, c.dy() * (0.01 + 0.99 * step(c.kept(0)))); },
       of_module({4, 5}, [] { return Relu(); }),
       {"x"},
       Pattern::mask_not_applied},
      {"Pooling",
       "avg_pool2d",
       "not divided by the window's size",
       [](Backward& c) {
         for (int i = 0; i < 4; ++i) right_backward(c);
       },
       of_module({2, 2, 4, 6}, [] { return AvgPool2d(2); }),
       {"x"},
       Pattern::factor},
      {"Pooling",
       "max_pool2d",
       "dy divided among the window",
       [](Backward& c) {
         c.set(0, reshape(expand(reshape(c.dy(), {2, 2, 2, 1, 3, 1}), {2, 2, 2, 2, 3, 2}),
                          {2, 2, 4, 6}) /
                      4);
       },
       of_module({2, 2, 4, 6}, [] { return MaxPool2d(2); }),
       {"x"}},
      {"MultiHeadAttention",
       "attention",
       "the scale left out of dq and dk",
       [](Backward& c) {
         const std::vector<Tensor> d =
             right([](const Tensor& q, const Tensor& k,
                      const Tensor& v) { return scaled_dot_product_attention(q, k, v); },
                   {c.kept(0), c.kept(1), c.kept(2)}, c.dy());
         for (int i = 0; i < 3; ++i) c.set(i, i < 2 ? d[i] * std::sqrt(2.0) : d[i]);
       },
       of_attention(),
       {"in_proj_weight", "x", "in_proj_bias"},
       Pattern::factor},
      {"MultiHeadAttention",
       "linear",
       "the output's bias of the first row alone",
       [](Backward& c) {
         const Tensor dy = reshape(c.dy(), {-1, c.dy().size(-1)});
         const Tensor x = reshape(c.kept(0), {-1, c.kept(0).size(-1)});
         c.set(0, reshape(matmul(dy, c.kept(1)), c.kept(0).shape()));
         c.set(1, matmul(dy, x, true));
         c.set(2, is_square(c.kept(1)) ? select(dy, 0, 0) : sum(dy, {0}));
       },
       of_attention(),
       {"out_proj.bias"},
       Pattern::broadcast_unreduced},
      {"Sequential",
       "batch_norm",
       "statistics detached between layers",
       [](Backward& c) {
         const Tensor scaled = c.dy() * c.kept(3);
         c.set(0, scaled * c.kept(1));
         c.set(1, sum(scaled * (c.kept(0) - c.kept(2)), {0}));
         c.set(2, sum(c.dy(), {0}));
       },
       of_module({5, 3},
                 [] { return Sequential(Linear(3, 4), BatchNorm(4), Tanh(), Linear(4, 2)); }),
       {"x", "0.weight", "0.bias"},
       Pattern::constant_statistics},
      {"Residual",
       "add",
       "the branch detached",
       [](Backward& c) { c.set(0, c.dy()); },
       of_module({4, 3}, [] { return Residual(Sequential(Linear(3, 3), Tanh())); }),
       {"module.0.weight", "module.0.bias", "x"},
       Pattern::no_gradient},
      {"models",
       "batch_norm",
       "Mlp: db counted twice",
       [](Backward& c) {
         right_backward(c);
         const Tensor y = batch_norm(c.kept(0), c.kept(1), c.kept(5)).y;
         c.set(2, sum(relu_gradient(c.dy(), y), {0}));
       },
       of_module({4, 4}, [] { return Mlp(4, 3, {.hidden = {5}, .norm = Norm::batch}); }),
       {"norms.0.bias"},
       Pattern::factor},
      {"models",
       "conv2d",
       "Cnn: the kernel's gradient averaged over the batch",
       [](Backward& c) {
         right_backward(c);
         const auto& s = c.attrs<kernels::Conv2dShape>();
         const Function f = [&s](const Tensor& w, const Tensor& x) {
           return conv2d(x, w, {}, {.padding = {s.padding_h, s.padding_w}});
         };
         c.set(1, right(f, {c.kept(1), c.kept(0)}, c.dy())[0] * (1.0 / 3 - 1));
       },
       of_module({3, 1, 4, 5}, [] { return Cnn(1, 4, 5, 3, {.channels = {2}}); }),
       {"stem.weight", "blocks.0.conv1.weight", "blocks.0.conv2.weight"},
       Pattern::factor},
      {"models",
       "layer_norm",
       "EncoderBlock: dw averaged over the rows",
       [](Backward& c) {
         right_backward(c);
         const Tensor x = reshape(c.kept(0), {6, 4}), dy = reshape(c.dy(), {6, 4});
         const Tensor xhat = (x - reshape(c.kept(2), {6, 1})) * reshape(c.kept(3), {6, 1});
         c.set(1, sum(dy * xhat, {0}) * (1.0 / 6 - 1));
       },
       of_encoder(Norm::layer),
       {"norm1.weight", "norm2.weight"},
       Pattern::factor},
  };
}

}  // namespace gradus::mutations
