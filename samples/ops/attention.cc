#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> attention_samples() {
  const auto run = [](AttentionOptions options) {
    return [=](std::span<const Tensor> x) {
      return scaled_dot_product_attention(x[0], x[1], x[2], options);
    };
  };
  const auto inputs = [] {
    return std::vector{sample({3, 2, 4, 3}, 1), sample({3, 2, 5, 3}, 2), sample({3, 2, 5, 2}, 3)};
  };
  const Tensor lengths = Tensor::of({5, 3, 2}, DType::i64);
  const Tensor there = less(reshape(arange(5), {1, 5}), reshape(lengths, {3, 1}));
  return {
      {"(3, 2, 4, 3) over 5 keys", inputs(), run({})},
      {"key padding", inputs(), run({.key_padding = there})},
      {"additive mask, itself an input",
       {sample({3, 2, 4, 3}, 1), sample({3, 2, 5, 3}, 2), sample({3, 2, 5, 2}, 3),
        sample({2, 1, 5}, 4)},
       [](std::span<const Tensor> x) {
         return scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3]});
       }},
      {"a query that may look at nothing", inputs(),
       run({.mask = less(reshape(arange(5), {1, 5}),
                         reshape(Tensor::of({0, 2, 3, 4}, DType::i64), {4, 1}))})},
      {"causal", {sample({4, 3}, 1), sample({4, 3}, 2), sample({4, 3}, 3)}, run({.causal = true})}};
}

}  // namespace

static OpSamples attention_row("attention", attention_samples);

}  // namespace gradus
