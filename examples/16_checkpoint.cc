// A training that is stopped and goes on: everything that changes from step to step is in one file,
// so that it ends with the same bits as one that never stopped.
#include <gradus/gradus.h>

#include <filesystem>

using namespace gradus;

static const std::string kFile = "16_checkpoint.safetensors";
constexpr uint64_t kEpochs = 4;

/// All that a training has, and how it goes on from the file, if it is there, to epoch `until`.
struct Training {
  Split data = train_test_split(digits(), 0.2, 1);
  Mlp model = draw();
  Adam optimizer{model.parameters(), {.lr = 3e-3}};
  Generator noise{7};
  uint64_t epoch = 0;
  std::vector<double> losses;  // of each epoch
  Checkpoint checkpoint;

  static Mlp draw() {
    Mlp model(64, 10, {.hidden = {32, 32}, .norm = Norm::batch});
    model.initialize(1);
    return model;
  }

  Training() {
    checkpoint.add("model", model)
        .add("optimizer", optimizer)
        .add("noise", noise)
        .add("epoch", epoch)
        .add("losses", losses);
  }

  void run(uint64_t until) {
    if (std::filesystem::exists(kFile)) checkpoint.load(kFile);
    const DataLoader loader(data.train, {.batch_size = 64});
    for (; epoch < until;) {
      double total = 0;
      for (const Batch& batch : loader.epoch(epoch)) {  // the order follows from the number
        Tape tape;
        const Tensor x = batch.x + 0.05 * randn(batch.x.shape(), noise);
        const Tensor loss = cross_entropy(model(x), batch.y);
        optimizer.zero_grad();
        tape.backward(loss);
        optimizer.step();
        total += loss.item();
      }
      losses.push_back(total / static_cast<double>(loader.size()));
      ++epoch;
      checkpoint.save(kFile);
      fmt::print("  epoch {}  loss {:.6f}\n", epoch, losses.back());
    }
  }
};

int main() {
  std::filesystem::remove(kFile);
  fmt::print("without a break\n");
  Training whole;
  whole.run(kEpochs);

  std::filesystem::remove(kFile);
  fmt::print("two epochs, and another program that finds the file\n");
  {
    Training first;
    first.run(2);
  }
  Training second;
  second.run(kEpochs);

  bool same = whole.losses == second.losses;
  const NamedTensors a = whole.model.state(), b = second.model.state();
  for (size_t i = 0; i < a.size(); ++i) same = same && all(equal(a[i].second, b[i].second));
  std::filesystem::remove(kFile);
  fmt::print("the same losses and weights, bit for bit: {}\n", same);
  return same ? 0 : 1;
}
