// A training with all that goes with one: augmented batches that another thread makes ahead, a
// schedule, clipped gradients, an average of the weights, a log to look at while it runs, and
// checkpoints, the best and the last, from which it goes on wherever it was killed.
#include <gradus/gradus.h>

#include <filesystem>

using namespace gradus;

static const std::string kFolder = "18_run";

/// As (seed, epoch, batch) has it: all draws come from the generator that is given.
static Batch augmented(const Batch& batch, Generator& generator) {
  Batch result = batch;
  result.x = random_shift(batch.x, 1, 0.5, 0, generator);
  result.x = random_rotation(result.x, 8, 0, generator);
  result.x = random_noise(result.x, 0.05, generator);
  return result;
}

int main() {
  std::filesystem::remove_all(kFolder);  // a training of one's own would not
  const Split data = train_test_split(digits(), 0.2, 1);
  const Split parts = train_test_split(data.train, 0.1, 2);  // train, and to choose the best by

  Cnn model(1, 8, 8, 10, {.norm = Norm::batch});
  model.initialize(1);
  AveragedModel average(model, 0.9);
  AdamW optimizer(weight_decay_groups(model, 0.01), {.lr = 3e-3});
  constexpr uint64_t kEpochs = 10;
  const DataLoader loader(
      parts.train,
      {.batch_size = 64, .last = LastBatch::merge, .transform = augmented, .prefetch = 8});
  const Schedule schedule = one_cycle_schedule(static_cast<int64_t>(kEpochs) * loader.size());

  uint64_t epoch = 0;
  int64_t step = 0;
  Checkpoint checkpoint;
  checkpoint.add("model", model).add("optimizer", optimizer);
  checkpoint.add("average", average.module).add("n_averaged", average.n_averaged);
  checkpoint.add("epoch", epoch).add("step", step).add("generator", default_generator());
  CheckpointFolder folder(checkpoint, kFolder, {.improvement = {.better = Better::higher}});
  folder.resume();
  CsvLog log(kFolder + "/metrics.csv", {"epoch", "loss", "accuracy", "average"},
             static_cast<int64_t>(epoch));

  fmt::print("epoch  loss   accuracy  of the average\n");
  for (; epoch < kEpochs;) {
    double total = 0;
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y, {.label_smoothing = 0.05});
      optimizer.zero_grad();
      tape.backward(loss);
      clip_grad_norm(model.parameters(), 1);
      optimizer.set_lr_factor(schedule(step++));
      optimizer.step();
      average.update_parameters(model);
      total += loss.item();
    }
    ++epoch;
    const double loss = total / static_cast<double>(loader.size());
    const double now = evaluate(model, parts.test).accuracy;
    const double averaged = evaluate(average.module, parts.test).accuracy;
    log.write(epoch, loss, now, averaged);
    folder.save(static_cast<int64_t>(epoch), averaged);
    fmt::print("{:5}  {:.3f}    {:5.1f} %         {:5.1f} %\n", epoch, loss, 100 * now,
               100 * averaged);
  }

  checkpoint.load(folder.best_path());
  Cnn& best = average.module;
  best.eval();
  const Tensor predicted = argmax(best(data.test.x), 1);
  const Tensor confusion = confusion_matrix(predicted, data.test.y, 10);
  fmt::print("\nrows: what a test image shows; columns: what the best average says\n{}\n",
             confusion);
  const double right = accuracy(predicted, data.test.y);
  fmt::print("right {:.1f} %, macro F1 {:.3f}; `gradus plot {}/metrics.csv` draws the training\n",
             100 * right, precision_recall_f1(confusion, Average::macro).f1, kFolder);
  return right > 0.9 ? 0 : 1;
}
