#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>
#include <gradus/models/transformer.h>

namespace gradus {

static ModuleSamples encoder_block_row("EncoderBlock", [] {
  const Tensor valid = length_mask(raw::cast(Tensor::of({3, 2}), DType::i64), 3);
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    for (NormPlace place : {NormPlace::before, NormPlace::after})
      samples.push_back(module_sample(
          fmt::format("{} {}", name(norm), place == NormPlace::before ? "before" : "after"),
          EncoderBlock({.dim = 4, .heads = 2, .mlp_dim = 3, .norm = norm, .norm_place = place}),
          {sample({2, 3, 4}, 1)}, [valid](EncoderBlock& m, std::span<const Tensor> x) {
            return m(x[0], {.valid = valid});
          }));
  samples.push_back(module_sample(
      "gelu, causal",
      EncoderBlock({.dim = 4,
                    .heads = 2,
                    .mlp_dim = 3,
                    .norm = Norm::layer,
                    .activation = MlpActivation::gelu}),
      {sample({2, 3, 4}, 1)},
      [](EncoderBlock& m, std::span<const Tensor> x) { return m(x[0], {.causal = true}); }));
  return samples;
});

static ModuleSamples decoder_block_row("DecoderBlock", [] {
  const Tensor valid = length_mask(raw::cast(Tensor::of({3, 2}), DType::i64), 3);
  std::vector<ModuleSample> samples;
  for (NormPlace place : {NormPlace::before, NormPlace::after})
    samples.push_back(module_sample(place == NormPlace::before ? "before" : "after, padded memory",
                                    DecoderBlock({.dim = 4,
                                                  .heads = 2,
                                                  .mlp_dim = 3,
                                                  .norm = Norm::layer,
                                                  .norm_place = place,
                                                  .activation = MlpActivation::gelu}),
                                    {sample({2, 4, 4}, 1), sample({2, 3, 4}, 2)},
                                    [valid, place](DecoderBlock& m, std::span<const Tensor> x) {
                                      return m(
                                          x[0], x[1], {.causal = true},
                                          {.valid = place == NormPlace::after ? valid : Tensor()});
                                    }));
  return samples;
});

static ModuleSamples transformer_row("Transformer", [] {
  const Tensor lengths = raw::cast(Tensor::of({3, 2}), DType::i64);
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    samples.push_back(module_sample(
        name(norm),
        Transformer(3, 2, 3, {.dim = 4, .heads = 2, .depth = 1, .mlp_dim = 3, .norm = norm}),
        {sample({2, 3, 2}, 1)},
        [lengths](Transformer& m, std::span<const Tensor> x) { return m.forward(x[0], lengths); }));
  return samples;
});

}  // namespace gradus
