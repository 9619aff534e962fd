// Sequences of different lengths: an LSTM over two layers and both directions tells nine speakers
// apart by utterances of 7 to 29 steps. What stands behind an utterance's end has no influence.
#include <gradus/gradus.h>

#include <cmath>

using namespace gradus;

class Speakers : public Module {
 public:
  Speakers()
      : lstm(12, 24, {.num_layers = 2, .bidirectional = true, .dropout = 0.2}), head(48, 9) {}
  /// x: (N, T, 12)   lengths: (N)   y: (N, 9)
  Tensor forward(const Tensor& x, const Tensor& lengths) {
    const Tensor h = lstm(x, lengths).h;  // (4, N, 24): layer by layer, forward before backward
    const Tensor both = concat({select(h, 0, 2), select(h, 0, 3)}, 1);
    return head(both);
  }
  Tensor operator()(const Tensor& x, const Tensor& lengths) { return forward(x, lengths); }
  void visit(Visitor& visitor) override {
    visitor.module("lstm", lstm);
    visitor.module("head", head);
  }
  std::string describe() const override { return "Speakers"; }

  Lstm lstm;
  Linear head;
};

int main() {
  Split data = japanese_vowels();
  standardize(data);
  Speakers model;
  model.initialize(1);
  Adam optimizer(model.parameters(), {.lr = 3e-3});
  const DataLoader loader(data.train, {.batch_size = 30});
  for (uint64_t epoch = 0; epoch < 30; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x, batch["lengths"]), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
  model.eval();

  const Dataset& test = data.test;
  const Tensor lengths = test["lengths"], logits = model(test.x, lengths);
  const Tensor right = cast(equal(argmax(logits, 1), test.y), DType::f32);
  fmt::print("steps     utterances  right\n");
  for (const auto& [from, to] : {std::pair{7, 12}, {13, 16}, {17, 20}, {21, 29}}) {
    const Tensor some = cast(greater_equal(lengths, from) & less_equal(lengths, to), DType::f32);
    const double n = sum(some).item();
    fmt::print("{:2} to {:2}  {:10}  {:4.1f} %\n", from, to, n, 100 * sum(right * some).item() / n);
  }
  const double accuracy = mean(right).item();
  fmt::print("all       {:10}  {:4.1f} %\n", test.size(), 100 * accuracy);

  // NaN behind every end, and more of it: the same answers, bit for bit.
  const Tensor is_there = less(unsqueeze(arange(40), 0), unsqueeze(lengths, 1));
  const Tensor longer = concat({test.x, zeros({test.size(), 11, 12})}, 1);
  const Tensor spoilt = where(unsqueeze(is_there, 2), longer, NAN);
  const bool same = all(equal(model(spoilt, lengths), logits));
  fmt::print("with NaN behind each end, and 11 steps more, the same: {}\n", same);
  return accuracy > 0.9 && same ? 0 : 1;
}
