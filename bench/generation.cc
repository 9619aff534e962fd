// Characters a second that language models generate on one thread, each from those before it:
// bench/peers/torch_generation.py does the same with PyTorch.
#include <gradus/models/language_model.h>
#include <gradus/tensor/runtime.h>

#include "bench/measure.h"

using namespace gradus;
using namespace gradus::bench;

namespace {

constexpr int64_t kVocabulary = 65, kContext = 128, kCharacters = kContext - 1;

template <class Model>
void measure(const char* what, Model model) {
  model.eval();
  const Tensor prompt = zeros({1, 1}, DType::i64);
  const auto [greedy, sampled, chosen] = in_turn_us(
      3, [&] { model.generate(prompt, kCharacters, {.temperature = 0}); },
      [&] { model.generate(prompt, kCharacters); },
      [&] { model.generate(prompt, kCharacters, {.temperature = 0.8, .top_k = 10}); });
  for (const auto& [how, us] :
       {std::pair{"greedy", greedy}, {"sampled", sampled}, {"top 10 at 0.8", chosen}})
    fmt::print("{:<6} {:<14} {:>8.0f} characters/s\n", what, how, kCharacters / us * 1e6);
}

}  // namespace

int main() {
  set_threads(1);
  measure("lstm", LstmLanguageModel(kVocabulary, {.hidden = 128}));
  measure("gpt", TransformerLanguageModel(kVocabulary, kContext));  // d128, 4 blocks of 4 heads
}
