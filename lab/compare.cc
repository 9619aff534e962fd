#include "lab/compare.h"

#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/data/idx.h>
#include <gradus/data/loader.h>
#include <gradus/optim/schedule.h>
#include <gradus/tensor/tensor_file.h>
#include <gradus/training/checkpoint.h>
#include <gradus/training/evaluate.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <optional>

#include "lab/checksum.h"
#include "lab/compare_optimizers.h"

namespace gradus::lab {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check_distinct(const char* what, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    check(std::count(names.begin(), names.end(), name) == 1, "compare: {} {} is named twice", what,
          name);
}

Split load(const CompareOptions& options, uint64_t seed) {
  Split data;
  if (options.data == "digits") {
    data = train_test_split(digits(), 0.2, seed);
  } else if (options.data == "vowels") {
    data = japanese_vowels();
    Generator generator(seed, "order of the test");  // sorted, a batch would be one speaker's
    data.test = data.test[randperm(data.test.size(), generator)];
  } else {
    data = load_idx_folder(options.data);
  }
  for (const std::string& name : options.models)
    check(data.train.x.ndim() == 4 || find_model(name).reads_sequences(),
          "compare: {} reads images, and the {} are sequences; --models rnn,transformer read them",
          name, options.data);
  standardize(data);
  return data;
}

struct Stopped {};

/// Loss and accuracy of a model of that row.
Evaluation score(const ModelRow& row, AnyModule& model, const Dataset& data, int64_t batch_size,
                 NormStatistics statistics, const std::function<bool()>& stop) {
  const auto logits = [&](const Dataset& batch) {
    if (stop()) throw Stopped();
    return row.run(model, batch);
  };
  return evaluate(*model, data, logits, {.batch_size = batch_size, .statistics = statistics});
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// The loss before the step.
double train_step(const ModelRow& row, AnyModule& model, Optimizer& optimizer, const Batch& batch) {
  Tape tape;
  const Tensor loss = cross_entropy(row.run(model, batch), batch.y);
  optimizer.zero_grad();
  tape.backward(loss);
  optimizer.step();
  return loss.item();
}

DataLoader training_loader(const Split& data, const CompareOptions& options, uint64_t seed) {
  return DataLoader(data.train,
                    {.batch_size = options.batch_size, .seed = seed, .last = LastBatch::drop});
}

/// Tells the time left, from the start: a few steps of each kind of run (a model with a norm) are
/// tried out, and give way to what the runs really take.
class Forecast {
 public:
  Forecast(const CompareOptions& options, const Split& data) : seeds_(options.seeds) {
    const auto steps =
        static_cast<double>(options.epochs * training_loader(data, options, 1).size());
    for (const std::string& model : options.models)
      for (const std::string& norm : options.norms)
        costs_.push_back(steps * step_seconds(find_model(model), norm_from(norm), options, data));
  }
  /// In the run that counts from 0, when it has taken so long for this part of its epochs.
  void learn(size_t run, double part, double seconds) {
    costs_[run % costs_.size()] = seconds / part;
  }
  double seconds_left(size_t run, double part) const {
    const auto cost = costs_.begin() + static_cast<int64_t>(run % costs_.size());
    const auto later_seeds = seeds_ - 1 - static_cast<int64_t>(run / costs_.size());
    return (1 - part) * *cost + std::accumulate(cost + 1, costs_.end(), 0.0) +
           static_cast<double>(later_seeds) * std::accumulate(costs_.begin(), costs_.end(), 0.0);
  }

 private:
  static double step_seconds(const ModelRow& row, Norm norm, const CompareOptions& options,
                             const Split& data) {
    AnyModule model = row.make(norm, data.train);
    model->initialize(1);
    const auto optimizer = find_optimizer(options.optimizer).make(model->parameters(), options.lr);
    const Batch batch = training_loader(data, options, 1).epoch(0).batch(0);
    double best = HUGE_VAL;
    for (int i = 0; i < 4; ++i) {
      const auto begin = Clock::now();
      train_step(row, model, *optimizer, batch);
      best = std::min(best, seconds_since(begin));
    }
    return best;
  }

  int64_t seeds_;
  std::vector<double> costs_;  // of the runs of one seed, in their order
};

/// What a run becomes, as numbers for a checkpoint; which run it is follows from its place.
void append(const Run& run, std::vector<double>& numbers) {
  for (const double number :
       {run.step_ms, static_cast<double>(run.diverged_in), static_cast<double>(run.finished),
        static_cast<double>(run.epochs.size())})
    numbers.push_back(number);
  for (const EpochMetrics& e : run.epochs)
    for (const double number : {static_cast<double>(e.epoch), e.train_loss, e.test_accuracy,
                                e.test_accuracy_batch_stats, e.test_loss})
      numbers.push_back(number);
}

/// Takes numbers of a file one after another, each of which must be what it should.
class NumbersOf {
 public:
  NumbersOf(const std::string& file, const std::vector<double>& numbers)
      : file_(file), at_(numbers.begin()), end_(numbers.end()) {}
  bool are_over() const { return at_ == end_; }
  double any() {
    check(!are_over(), "{}: is damaged: its runs are cut; --fresh begins anew", file_);
    return *at_++;
  }
  double next(const char* what, double least = 0,
              double most = std::numeric_limits<double>::max()) {
    const double x = any();
    must(x >= least && x <= most, what, x);
    return x;
  }
  int64_t next_count(const char* what, int64_t least, int64_t most) {
    const double x = next(what, static_cast<double>(least), static_cast<double>(most));
    must(x == std::floor(x), what, x);
    return static_cast<int64_t>(x);
  }
  void must(bool holds, const char* what, double x) const {
    check(holds, "{}: is damaged: a run's {} is {}; --fresh begins anew", file_, what, x);
  }

 private:
  const std::string& file_;
  std::vector<double>::const_iterator at_, end_;
};

Run run_from(NumbersOf& numbers, int64_t epochs) {
  Run run;
  run.step_ms = numbers.next("time of a step");
  run.diverged_in = numbers.next_count("epoch in which it diverged", 0, epochs);
  run.finished = numbers.next_count("end", 0, 1) != 0;
  const int64_t done = numbers.next_count("number of epochs", 0, epochs);
  numbers.must(run.finished == (done == epochs), "number of epochs", static_cast<double>(done));
  numbers.must(run.diverged_in == 0 || run.diverged_in == done + 1, "epoch in which it diverged",
               static_cast<double>(run.diverged_in));
  for (int64_t epoch = 1; epoch <= done; ++epoch) {
    numbers.next_count("epoch", epoch, epoch);
    const double loss = numbers.next("training loss"), accuracy = numbers.next("accuracy", 0, 1),
                 batch_accuracy = numbers.next("accuracy", 0, 1);
    const double test_loss = numbers.any();  // of a model that diverges it may be anything
    run.epochs.push_back({epoch, loss, accuracy, batch_accuracy, test_loss});
  }
  return run;
}

/// At most `most` runs, of which the last alone may have been under way.
std::vector<Run> runs_from(const std::string& file, const std::vector<double>& list, int64_t epochs,
                           size_t most) {
  std::vector<Run> runs;
  NumbersOf numbers(file, list);
  while (!numbers.are_over()) {
    runs.push_back(run_from(numbers, epochs));
    const Run& run = runs.back();
    check(runs.size() <= most, "{}: is damaged: more than {} runs; --fresh begins anew", file,
          most);
    numbers.must(
        run.finished || run.diverged_in != 0 || (numbers.are_over() && !run.epochs.empty()),
        "number of epochs", static_cast<double>(run.epochs.size()));
  }
  return runs;
}

/// The runs in the checkpoint of an interrupted comparison, the last of which was under way.
std::vector<Run> earlier_runs(const std::string& checkpoint, int64_t epochs, size_t most) {
  if (!std::filesystem::exists(checkpoint)) return {};
  for (const auto& [name, values] : load_tensors(checkpoint))
    if (name == "runs" && values.dtype() == DType::f64)
      return runs_from(checkpoint, values.to_vector<double>(), epochs, most);
  fail("{}: is no checkpoint of a comparison; --fresh begins anew", checkpoint);
}

/// What a checkpoint gave as the times of steps, `count` of them.
void check_times(const std::string& file, const std::vector<double>& step_ms, int64_t count) {
  check(static_cast<int64_t>(step_ms.size()) == count,
        "{}: is damaged: it has the times of {} steps, not {}; --fresh begins anew", file,
        step_ms.size(), count);
  NumbersOf numbers(file, step_ms);
  while (!numbers.are_over()) numbers.next("time of a step");
}

/// Goes on with the last of `runs`, from the file if that has `epochs` of it; calls
/// `step_done(epoch, part of the epoch, mean loss)`.
void train(AnyModule& model, const Split& data, const CompareOptions& options,
           std::vector<Run>& runs, const std::function<void(int64_t, double, double)>& step_done,
           const std::function<bool()>& stop, const std::string& file) {
  Run& run = runs.back();
  const auto optimizer = find_optimizer(options.optimizer).make(model->parameters(), options.lr);
  std::vector<double> numbers, step_ms;
  Checkpoint checkpoint;
  checkpoint.add("model", *model).add("optimizer", *optimizer);
  checkpoint.add("generator", default_generator()).add("runs", numbers).add("step_ms", step_ms);
  const ModelRow& row = find_model(run.model);
  const DataLoader loader = training_loader(data, options, run.seed);
  int64_t step = static_cast<int64_t>(run.epochs.size()) * loader.size();
  if (!run.epochs.empty()) {
    checkpoint.load(file);
    check_times(file, step_ms, step);
  }
  const auto save = [&] {
    numbers.clear();
    for (const Run& each : runs) append(each, numbers);
    checkpoint.save(file);
  };
  const int64_t steps = options.epochs * loader.size();
  const int64_t warmup = std::min(loader.size(), steps - 1);
  const Schedule schedule = warmup_schedule(warmup, cosine_schedule(steps - warmup));
  const double black = min(data.train.x).item();
  for (int64_t epoch = static_cast<int64_t>(run.epochs.size()) + 1; epoch <= options.epochs;
       ++epoch) {
    model->train();
    double loss_sum = 0;
    int64_t done = 0;
    Generator shifts(run.seed, fmt::format("shifts of epoch {}", epoch));
    for (Batch batch : loader.epoch(static_cast<uint64_t>(epoch))) {
      if (stop()) throw Stopped();
      if (row.augment) batch.x = row.augment(batch.x, black, shifts);
      const auto begin = Clock::now();
      optimizer->set_lr_factor(schedule(step++));
      loss_sum += train_step(row, model, *optimizer, batch);
      step_ms.push_back(1e3 * seconds_since(begin));
      ++done;
      if (!std::isfinite(loss_sum)) {
        run.diverged_in = epoch;
        run.step_ms = median(step_ms);
        save();
        step_done(epoch, 1, loss_sum);
        return;
      }
      if (done < loader.size())
        step_done(epoch, static_cast<double>(done) / static_cast<double>(loader.size()),
                  loss_sum / static_cast<double>(done));
    }
    const auto test = [&](NormStatistics statistics) {
      return score(row, model, data.test, options.batch_size, statistics, stop);
    };
    const Evaluation found = test(NormStatistics::running);
    const double batch_accuracy = depends_on_batch(norm_from(run.norm))
                                      ? test(NormStatistics::batch).accuracy
                                      : found.accuracy;
    const double train_loss = loss_sum / static_cast<double>(loader.size());
    run.step_ms = median(step_ms);
    run.epochs.push_back({epoch, train_loss, found.accuracy, batch_accuracy, found.loss});
    run.finished = epoch == options.epochs;
    save();
    step_done(epoch, 1, train_loss);
  }
}

}  // namespace

int64_t Run::epochs_to(double accuracy) const {
  for (const EpochMetrics& e : epochs)
    if (e.test_accuracy >= accuracy) return e.epoch;
  return 0;
}

std::vector<Run> compare(const CompareOptions& options,
                         const std::function<void(const Progress&)>& progress,
                         const std::function<bool()>& stop, const std::string& checkpoint,
                         const std::function<bool(const std::string& data_checksum)>& enter) {
  check(options.seeds > 0 && options.epochs > 0 && options.batch_size > 1,
        "compare: needs at least 1 seed, 1 epoch and a batch of 2, got {}, {} and {}",
        options.seeds, options.epochs, options.batch_size);
  check_distinct("model", options.models);
  check_distinct("norm", options.norms);
  find_optimizer(options.optimizer)
      .make({Parameter({1}, Init::zeros())}, options.lr);  // fails early
  const size_t count =
      options.models.size() * options.norms.size() * static_cast<size_t>(options.seeds);
  std::optional<Forecast> forecast;
  const bool of_files = options.data != "digits" && options.data != "vowels";
  uint32_t data_checksum = 0;
  std::vector<Run> runs, earlier;
  for (int64_t seed = 1; seed <= options.seeds; ++seed) {
    const Split data = load(options, static_cast<uint64_t>(seed));
    const uint32_t now = of_files || seed == 1 ? checksum(data) : data_checksum;
    check(seed == 1 || now == data_checksum,
          "compare: the files of {} have changed since the comparison began", options.data);
    data_checksum = now;
    if (!forecast) {
      forecast.emplace(options, data);  // fails where options and data do not fit
      if (!enter(fmt::format("{:08x}", data_checksum))) return {};
      earlier = earlier_runs(checkpoint, options.epochs, count);
    }
    for (const std::string& name : options.models) {
      for (const std::string& norm : options.norms) {
        AnyModule model = find_model(name).make(norm_from(norm), data.train);
        model->initialize(static_cast<uint64_t>(seed));
        manual_seed(static_cast<uint64_t>(seed));
        Run& run = runs.emplace_back(runs.size() < earlier.size() ? earlier[runs.size()] : Run{});
        run.model = name;
        run.norm = norm;
        run.seed = static_cast<uint64_t>(seed);
        run.parameters = model->parameter_count();
        if (options.data == "digits")
          run.test_to_train =
              static_cast<double>(data.test.size()) / static_cast<double>(data.train.size());
        if (run.finished || run.diverged_in != 0) continue;
        const auto begin = Clock::now();
        const auto step_done = [&](int64_t epoch, double part, double loss) {
          const double run_part =
              (static_cast<double>(epoch - 1) + part) / static_cast<double>(options.epochs);
          if (part == 1) forecast->learn(runs.size() - 1, run_part, seconds_since(begin));
          progress({.run = runs.size(),
                    .runs = count,
                    .current = run,
                    .all = runs,
                    .epoch = epoch,
                    .epochs = options.epochs,
                    .loss = loss,
                    .epoch_done = part == 1,
                    .seconds_left = forecast->seconds_left(runs.size() - 1, run_part)});
        };
        try {
          train(model, data, options, runs, step_done, stop, checkpoint);
        } catch (const Stopped&) {
          return runs;
        }
      }
    }
  }
  return runs;
}

}  // namespace gradus::lab
