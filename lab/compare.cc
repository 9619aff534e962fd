#include "lab/compare.h"

#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/data/idx.h>
#include <gradus/data/loader.h>
#include <gradus/models/cnn.h>
#include <gradus/models/mlp.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/models/transformer.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/schedule.h>
#include <gradus/optim/sgd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

namespace gradus::lab {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Images as the rows that a sequence model reads: (N, C, H, W) -> (N, H, C W).
class RowTransformer : public UnaryModule {
 public:
  explicit RowTransformer(Transformer transformer) : transformer_(std::move(transformer)) {
    finish_construction();
  }
  Tensor forward(const Tensor& x) override {
    return transformer_.forward(flatten(transpose(x, 1, 2), 2));
  }
  void visit(Visitor& visitor) override { visitor.module("transformer", transformer_); }
  std::string describe() const override { return "RowTransformer"; }

 private:
  Transformer transformer_;
};

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::vector<Tensor> parameters,
                                          double lr) {
  if (name == "sgd")
    return std::make_unique<Sgd>(std::move(parameters), SgdOptions{.lr = lr, .momentum = 0.9});
  if (name == "adam") return std::make_unique<Adam>(std::move(parameters), AdamOptions{.lr = lr});
  if (name == "adamw")
    return std::make_unique<AdamW>(std::move(parameters),
                                   AdamOptions{.lr = lr, .weight_decay = 1e-2});
  if (name == "rmsprop")
    return std::make_unique<Rmsprop>(std::move(parameters), RmspropOptions{.lr = lr});
  throw Error(fmt::format("optimizer: '{}' is none of sgd, adam, adamw, rmsprop", name));
}

Split load(const CompareOptions& options, uint64_t seed) {
  Split data =
      options.data == "digits" ? split(digits(), 0.2, seed) : load_idx_folder(options.data);
  standardize(data);
  return data;
}

/// The share of images that the model, as it is set, labels right.
double accuracy(AnyModule& model, const Dataset& data, int64_t batch_size) {
  const NoRecord pause;
  const DataLoader loader(data, {.batch_size = batch_size, .shuffle = false});
  int64_t right = 0;
  for (const Batch& batch : loader.epoch(0)) {
    const auto guess = argmax(model(batch.x), 1).to_vector<int64_t>();
    for (size_t i = 0; i < guess.size(); ++i) right += guess[i] == batch.y.data<int64_t>()[i];
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}

double accuracy_with_batch_stats(const AnyModule& model, const Dataset& data, int64_t batch_size) {
  AnyModule copy = model;  // training mode changes the running statistics: of the copy
  copy->train();
  return accuracy(copy, data, batch_size);
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// One training run; returns false when it was stopped.
bool train(AnyModule& model, const Split& data, const CompareOptions& options, Run& run,
           const std::function<void()>& epoch_done, const std::function<bool()>& stop) {
  const auto optimizer = make_optimizer(options.optimizer, model->parameters(), options.lr);
  const DataLoader loader(
      data.train, {.batch_size = options.batch_size, .seed = run.seed, .last = LastBatch::drop});
  const int64_t steps = options.epochs * loader.size();
  const int64_t warmup = std::min(loader.size(), steps - 1);
  const Schedule schedule = warmup_schedule(warmup, cosine_schedule(steps - warmup));
  int64_t step = 0;
  std::vector<double> step_ms;
  for (int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    model->train();
    double loss_sum = 0;
    for (const Batch& batch : loader.epoch(static_cast<uint64_t>(epoch))) {
      if (stop()) return false;
      const auto begin = Clock::now();
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer->zero_grad();
      tape.backward(loss);
      optimizer->set_lr_factor(schedule(step++));
      optimizer->step();
      step_ms.push_back(1e3 * seconds_since(begin));
      loss_sum += loss.item();
    }
    const double train_loss = loss_sum / static_cast<double>(loader.size());
    check(std::isfinite(train_loss),
          "compare: {} with norm {} diverged (loss {}) in epoch {}; use a smaller --lr", run.model,
          run.norm, train_loss, epoch);
    model->eval();
    const double eval_accuracy = accuracy(model, data.test, options.batch_size);
    const double batch_accuracy =
        run.norm == "batch" ? accuracy_with_batch_stats(model, data.test, options.batch_size)
                            : eval_accuracy;
    run.step_ms = median(step_ms);
    run.epochs.push_back({epoch, train_loss, eval_accuracy, batch_accuracy});
    epoch_done();
  }
  return true;
}

}  // namespace

int64_t Run::epochs_to(double accuracy) const {
  for (const EpochMetrics& e : epochs)
    if (e.test_accuracy >= accuracy) return e.epoch;
  return 0;
}

std::vector<std::string> model_names() { return {"cnn", "rnn", "transformer", "mlp"}; }
std::vector<std::string> optimizer_names() { return {"adam", "adamw", "sgd", "rmsprop"}; }

AnyModule make_model(const std::string& model, Norm norm, const Dataset& data) {
  const int64_t c = data.x.size(1), h = data.x.size(2), w = data.x.size(3);
  if (model == "cnn") return Cnn(c, h, w, data.classes, {.channels = {16, 32}, .norm = norm});
  if (model == "rnn") return RnnClassifier(c * w, data.classes, {.hidden = 64, .norm = norm});
  if (model == "transformer")
    return RowTransformer(Transformer(h, c * w, data.classes, {.norm = norm}));
  if (model == "mlp") return Mlp(c * h * w, data.classes, {.hidden = {64, 64}, .norm = norm});
  throw Error(fmt::format("model: '{}' is none of cnn, rnn, transformer, mlp", model));
}

std::vector<Run> compare(const CompareOptions& options,
                         const std::function<void(const Progress&)>& progress,
                         const std::function<bool()>& stop) {
  check(options.seeds > 0 && options.epochs > 0 && options.batch_size > 1,
        "compare: needs at least 1 seed, 1 epoch and a batch of 2, got {}, {} and {}",
        options.seeds, options.epochs, options.batch_size);
  make_optimizer(options.optimizer, {Parameter(zeros({1}))}, options.lr);  // fails early
  const size_t count =
      options.models.size() * options.norms.size() * static_cast<size_t>(options.seeds);
  std::vector<Run> runs;
  const auto begin = Clock::now();
  for (int64_t seed = 1; seed <= options.seeds; ++seed) {
    const Split data = load(options, static_cast<uint64_t>(seed));
    for (const std::string& name : options.models) {
      for (const std::string& norm : options.norms) {
        AnyModule model = make_model(name, norm_from(norm), data.train);
        model->initialize(static_cast<uint64_t>(seed));
        manual_seed(static_cast<uint64_t>(seed));
        Run& run = runs.emplace_back(
            Run{name, norm, static_cast<uint64_t>(seed), model->parameter_count(), 0, {}});
        const auto epoch_done = [&] {
          const double done =
              static_cast<double>(runs.size() - 1) +
              static_cast<double>(run.epochs.size()) / static_cast<double>(options.epochs);
          const double left = seconds_since(begin) * (static_cast<double>(count) - done) / done;
          progress({runs.size(), count, run, run.epochs.back().epoch, options.epochs, left});
        };
        if (!train(model, data, options, run, epoch_done, stop)) return runs;
      }
    }
  }
  return runs;
}

}  // namespace gradus::lab
