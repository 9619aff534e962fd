#include <gradus/gradcheck/samples.h>
#include <gradus/models/autoencoder.h>
#include <gradus/models/language_model.h>

namespace gradus {

static ModuleSamples transformer_language_model_row("TransformerLanguageModel", [] {
  const Tensor tokens = Tensor::of({{0, 2, 2}, {1, 0, 3}}, DType::i64);
  std::vector<ModuleSample> samples;
  for (Positions positions : {Positions::learned, Positions::sinusoidal, Positions::rotary})
    samples.push_back(module_sample(
        positions == Positions::learned      ? "learned, tied"
        : positions == Positions::sinusoidal ? "sinusoidal"
                                             : "rotary",
        TransformerLanguageModel(
            4, 3,
            {.blocks = {.dim = 4, .heads = 2, .depth = 1, .mlp_dim = 3, .norm = Norm::layer},
             .positions = positions,
             .tied = positions == Positions::learned}),
        tokens));
  return samples;
});

static ModuleSamples lstm_language_model_row("LstmLanguageModel", [] {
  const Tensor tokens = Tensor::of({{0, 2, 2}, {1, 0, 3}}, DType::i64);
  return std::vector{
      module_sample("two layers", LstmLanguageModel(4, {.hidden = 3, .num_layers = 2}), tokens),
      module_sample("tied", LstmLanguageModel(4, {.hidden = 3, .tied = true}), tokens)};
});

static ModuleSamples autoencoder_row("Autoencoder", [] {
  return std::vector{
      module_sample("images", Autoencoder(6, {.hidden = {4, 3}, .code = 2}), sample({4, 2, 3}, 1))};
});

}  // namespace gradus
