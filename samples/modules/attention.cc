#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/lengths.h>

namespace gradus {

static ModuleSamples attention_row("MultiHeadAttention", [] {
  const Tensor valid = length_mask(raw::cast(Tensor::of({3, 2}), DType::i64), 3);
  return std::vector{
      module_sample("query, key, value", MultiHeadAttention(4, 2),
                    {sample({2, 3, 4}, 1), sample({2, 4, 4}, 2), sample({2, 4, 4}, 3)},
                    [](MultiHeadAttention& attention, std::span<const Tensor> x) {
                      return attention.forward(x[0], x[1], x[2]);
                    }),
      module_sample("itself, causal, padded", MultiHeadAttention(4, 2), {sample({2, 3, 4}, 1)},
                    [valid](MultiHeadAttention& attention, std::span<const Tensor> x) {
                      return attention(x[0], {valid, {}, true});
                    })};
});

}  // namespace gradus
