// A language model of characters: a transformer learns a text, its own or a file's, and writes on
// from its first words. Keys and values of the positions so far are kept, so that each character
// costs one position.
#include <gradus/gradus.h>

#include <chrono>
#include <cmath>

using namespace gradus;

// Shakespeare, sonnet 18.
constexpr const char* kSonnet = R"(Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade
Nor lose possession of that fair thou ow'st;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st;
So long as men can breathe, or eyes can see,
So long lives this, and this gives life to thee.
)";

constexpr int64_t kContext = 64;

int main(int argc, char** argv) {
  const std::vector<std::string> text = characters(argc > 1 ? read_file(argv[1]) : kSonnet);
  const Vocabulary vocabulary = Vocabulary::of(text);
  const Tensor ids = vocabulary.encode(text);
  check(ids.numel() > kContext, "{} characters are too few", ids.numel());
  fmt::print("{} characters, {} different ones\n", ids.numel(), vocabulary.size());

  TransformerLanguageModel model(vocabulary.size(), kContext,
                                 {.blocks = {.dim = 64, .heads = 4, .depth = 2, .mlp_dim = 128},
                                  .positions = Positions::rotary});
  model.initialize(1);
  AdamW optimizer(weight_decay_groups(model, 0.01), {.lr = 3e-3});
  const DataLoader loader(next_token_windows(ids, kContext, 1),
                          {.batch_size = 16, .last = LastBatch::drop});
  const uint64_t epochs = static_cast<uint64_t>(1 + 300 / loader.size());
  const int64_t steps = static_cast<int64_t>(epochs) * loader.size();
  const Schedule schedule = warmup_schedule(20, cosine_schedule(steps, 0.1));
  int64_t step = 0;
  for (uint64_t epoch = 0; epoch < epochs; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor logits = model(batch.x);  // (N, T, vocabulary)
      const Tensor loss = cross_entropy(transpose(logits), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.set_lr_factor(schedule(step));
      optimizer.step();
      if (step++ % 60 == 0)
        fmt::print("step {:3}  perplexity {:6.2f}\n", step - 1, std::exp(loss.item()));
    }

  model.eval();
  constexpr int64_t kPrompt = 16, kWritten = 400;
  const Tensor prompt = unsqueeze(slice(ids, 0, 0, kPrompt), 0);
  const auto begin = std::chrono::steady_clock::now();
  const Tensor written = model.generate(prompt, kWritten, {.temperature = 0});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print("\n{}\n\n{:.0f} characters a second\n", vocabulary.decode(written),
             kWritten / took.count());
  // How many of them stand in the text, up to the first that does not.
  int64_t known = 0;
  while (known < kWritten && kPrompt + known < ids.numel() &&
         written.at({0, kPrompt + known}) == ids.at({kPrompt + known}))
    ++known;
  fmt::print("the first {} are the text's own\n", known);
  return known > 100 || argc > 1 ? 0 : 1;
}
