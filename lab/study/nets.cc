#include "lab/study/nets.h"

#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/data/idx.h>
#include <gradus/data/loader.h>
#include <gradus/models/cnn.h>
#include <gradus/models/mlp.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/models/transformer.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/sgd.h>
#include <gradus/training/population_statistics.h>

#include <cmath>
#include <map>
#include <mutex>

#include "lab/checksum.h"

namespace gradus::lab {

namespace {

constexpr uint64_t kTestSplit = 20;  // a seed that no run has a part in

/// The first rows, at most so many.
Dataset first_rows(const Dataset& data, int64_t most) {
  return data.size() <= most ? data : data[arange(most)];
}

/// The sides of the rectangles that images are averaged over, so that none has more than 16 pixels
/// a side: a net of larger ones would take hours to tune.
Pair averaged(const Dataset& images) {
  return {(images.x.size(2) + 15) / 16, (images.x.size(3) + 15) / 16};
}

struct Images {
  Split split;
  Pair averaged;
};

Images load_images(const std::string& data) {
  Split split =
      data == "digits" ? train_test_split(digits(), 0.2, kTestSplit) : load_idx_folder(data);
  split = {first_rows(split.train, 2000), first_rows(split.test, 1000)};
  const Pair over = averaged(split.train);
  if (over.h > 1 || over.w > 1)
    for (Dataset* part : {&split.train, &split.test})
      part->x = avg_pool2d(part->x, over, {.ceil_mode = true});
  standardize(split);
  return {std::move(split), over};
}

/// Read once: jobs share them, and write to none.
const Images& images(const std::string& data) {
  static std::mutex mutex;
  static std::map<std::string, Images> loaded;
  const std::lock_guard lock(mutex);
  const auto at = loaded.find(data);
  return at != loaded.end() ? at->second : loaded.emplace(data, load_images(data)).first->second;
}

RunData drawn(const Split& split, uint64_t seed) {
  Split parts = train_test_split(split.train, 0.2, seed);
  return {std::move(parts.train), std::move(parts.test), split.test};
}

std::unique_ptr<Optimizer> optimizer_for(const Net& net, const TrainOptions& options) {
  const auto parameters = net.module->parameters();
  if (options.sgd) return std::make_unique<Sgd>(parameters, SgdOptions{.lr = options.lr});
  return std::make_unique<Adam>(parameters, AdamOptions{.lr = options.lr});
}

}  // namespace

RunData run_images(const std::string& data, uint64_t seed) {
  RunData run = drawn(images(data).split, seed);
  check(run.train.classes > 1, "lab: the images of {} have one class; there is nothing to tell",
        data);
  check(run.train.size() >= kLargestBatch,
        "lab: {} leaves {} images to train with when a fifth is kept for validation; the image "
        "experiments take batches of up to {}",
        data, run.train.size(), kLargestBatch);
  return run;
}

Pair averaged_pixels(const std::string& data) { return images(data).averaged; }

std::string rates_data(const std::string& data) {
  if (data == "digits") return data;
  std::string labels;
  for (const Dataset* part : {&images(data).split.train, &images(data).split.test})
    for (const int64_t label : part->y.to_vector<int64_t>()) labels += static_cast<char>(label);
  return fmt::format("idx-{:08x}", fnv1a(labels));
}

uint32_t images_checksum(const std::string& data) { return checksum(images(data).split); }

RunData run_vowels(uint64_t seed) {
  Split split = japanese_vowels();
  standardize(split);
  return drawn(split, seed);
}

RunData data_for(std::string_view kind, const StudyOptions& options, uint64_t seed) {
  return kind == "cnn" || kind == "mlp" ? run_images(options.data, seed) : run_vowels(seed);
}

TrainOptions usual_training(std::string_view kind) {
  if (kind == "rnn") return {.batch_size = 32, .updates = 800, .clip_norm = 1};
  return {.batch_size = kind == "mlp" ? 64 : kind == "cnn" ? 32 : 16, .updates = 400};
}

Net make_net(std::string_view kind, const NormChoice& norm, const Dataset& data, bool per_step) {
  const Shape& shape = data.x.shape();
  if (kind == "cnn")
    return net_of(
        Cnn(shape[1], shape[2], shape[3], data.classes, {.channels = {8, 16}, .norm = norm}));
  if (kind == "mlp")
    return net_of(
        Mlp(data.x.numel() / data.size(), data.classes, {.hidden = {64, 64, 64}, .norm = norm}));
  if (kind == "rnn")
    return net_of(RnnClassifier(
        shape[2], data.classes,
        {.hidden = 32,
         .norm = norm,
         .norm_steps = per_step ? shape[1] : 0,
         .place = norm.kind == Norm::none ? RecurrentPlace::nowhere : RecurrentPlace::cell}));
  check(kind == "transformer", "lab: there is no net '{}'", kind);
  return net_of(Transformer(shape[1], shape[2], data.classes, {.norm = norm}));
}

double train(const Net& net, const Dataset& data, const TrainOptions& options, uint64_t seed) {
  net.module->initialize(seed);
  net.module->train();
  manual_seed(seed);
  const auto optimizer = optimizer_for(net, options);
  const auto parameters = net.module->parameters();
  const DataLoader loader(
      data, {.batch_size = options.batch_size, .seed = seed, .last = LastBatch::drop});
  const auto warmup = static_cast<double>(std::max<int64_t>(1, options.updates / 10));
  double value = 0;
  for (int64_t update = 0, epoch = 0; update < options.updates; ++epoch) {
    const auto batches = loader.epoch(static_cast<uint64_t>(epoch));
    for (int64_t i = 0; i < loader.size() && update < options.updates; ++i) {
      const Dataset batch = batches.batch(i);
      if (!options.sgd)
        optimizer->set_lr_factor(std::min(1.0, static_cast<double>(update + 1) / warmup));
      Tape tape;
      const Tensor loss = cross_entropy(net.logits(batch), batch.y);
      value = loss.item();
      if (!std::isfinite(value)) return HUGE_VAL;
      optimizer->zero_grad();
      tape.backward(loss);
      if (options.clip_norm > 0) clip_grad_norm(parameters, options.clip_norm);
      optimizer->step();
      ++update;
      if (options.after_update && !options.after_update(update, value)) return value;
    }
  }
  return value;
}

double validation_loss(const Trained& trained, const Dataset& validation) {
  return std::isfinite(trained.loss) ? trained.net.evaluate(validation).loss : HUGE_VAL;
}

std::vector<double> brier_scores(const Net& net, const Dataset& data) {
  std::vector<double> scores;
  const auto note = [&](const Dataset& batch) {
    const Tensor logits = net.logits(batch);
    const Tensor off = softmax(logits) - one_hot(batch.y, logits.size(1));
    for (const double score : sum(square(off), {1}).to_vector<double>()) scores.push_back(score);
    return logits;
  };
  evaluate(*net.module, data, note);
  return scores;
}

Evaluation evaluate_with_population(const Net& net, const Dataset& data, const Dataset& training) {
  const Net copy = net.clone();
  copy.module->eval();
  population_statistics(*copy.module, [&] {
    const auto batches = DataLoader(training, {.batch_size = 32, .shuffle = false}).epoch(0);
    for (const Dataset& batch : batches) copy.logits(batch);
  });
  return copy.evaluate(data);
}

}  // namespace gradus::lab
