// What changes between training and inference: the same nets, scored with the statistics of the
// batch, with running ones and with those of all training data, on data that change, too.
#include <fmt/format.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/flatten.h>
#include <gradus/layers/fusion.h>
#include <gradus/layers/pool.h>
#include <gradus/layers/sequential.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kUpdates = 300, kBatch = 32;
constexpr int64_t kSteps[] = {5, 10, 20, 40, 80, 150, 300};
constexpr double kBrighter = 1;  // standard deviations of the training pixels

struct Variant {
  const char* norm;
  NormChoice choice;
  bool context;  // half of the seeds
};
const Variant kVariants[] = {
    {"batch", Norm::batch, false},
    {"layer", Norm::layer, false},
    {"layer_channel", Norm::layer_channel, true},
    {"none", Norm::none, false},
};

struct Condition {
  const char* cell;
  const char* label;   // in the figure
  int64_t batch_size;  // that shares statistics where the batch's are taken
  Dataset (*change)(const Dataset& test);
};

Dataset by_class(const Dataset& data) {
  const auto labels = data.y.to_vector<int64_t>();
  std::vector<int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return labels[static_cast<size_t>(a)] < labels[static_cast<size_t>(b)];
  });
  return data[Tensor::from(order, {data.size()})];
}

Dataset with_pixels(Dataset data, double scale, double shift) {
  data.x = affine(data.x, scale, shift);
  return data;
}

const Condition kConditions[] = {
    {"same", "as in training,\\nbatches of 64", 64, [](const Dataset& d) { return d; }},
    {"pairs", "batches of 2", 2, [](const Dataset& d) { return d; }},
    {"sorted", "sorted by class,\\nbatches of 8", 8, by_class},
    {"contrast", "half the\\ncontrast", 64,
     [](const Dataset& d) { return with_pixels(d, 0.5, 0); }},
    {"brightness", "brighter", 64, [](const Dataset& d) { return with_pixels(d, 1, kBrighter); }},
};

double learn(const Net& net, const RunData& data, const char* norm, uint64_t seed,
             const std::function<void(int64_t)>& after = {}) {
  TrainOptions options{.batch_size = kBatch,
                       .updates = kUpdates,
                       .lr = tuned_rate("train-inference", "cnn", norm, "any").lr};
  if (after)
    options.after_update = [&](int64_t update, double) {
      after(update);
      return true;
    };
  return train(net, data.train, options, seed);
}

/// Training's transform of these images against inference's; the net stays as it is.
double mode_difference(const Net& net, const Dataset& images) {
  const Net copy = net.clone();
  copy.module->train();
  const Tensor in_training = copy.logits(images);
  net.module->eval();
  return relative_difference(in_training.to_vector<double>(),
                             net.logits(images).to_vector<double>());
}

/// At inference, each image in a batch of its own against all of them in one.
double alone_difference(const Net& net, const Dataset& images) {
  net.module->eval();
  std::vector<double> alone;
  for (int64_t i = 0; i < images.size(); ++i)
    for (double logit :
         net.logits(images[Tensor::from(std::vector<int64_t>{i}, {1})]).to_vector<double>())
      alone.push_back(logit);
  const Tensor together = net.logits(images);
  return relative_difference(Tensor::from(alone, together.shape()).to_vector<double>(),
                             together.to_vector<double>());
}

Rows score(const Variant& variant, const StudyOptions& options, uint64_t seed) {
  const RunData data = run_images(options.data, seed);
  const Net net = make_net("cnn", variant.choice, data.train);
  learn(net, data, variant.norm, seed);
  Rows rows;
  const auto add = [&](const char* cell, const char* quantity, double value) {
    rows.push_back({"cnn", variant.norm, cell, 0, seed, -1, quantity, value});
  };
  const bool batch = variant.choice.kind == Norm::batch;
  for (const Condition& c : kConditions) {
    const Dataset test = c.change(data.test);
    add(c.cell, batch ? "accuracy running" : "accuracy", net.evaluate(test).accuracy);
    if (!batch) continue;
    add(c.cell, "accuracy batch",
        net.evaluate(test, {.batch_size = c.batch_size, .statistics = NormStatistics::batch})
            .accuracy);
    add(c.cell, "accuracy population", evaluate_with_population(net, test, data.train).accuracy);
  }
  const Dataset some = data.test[arange(std::min<int64_t>(64, data.test.size()))];
  add("all", "mode difference", mode_difference(net, some));
  add("alone", "relative difference", alone_difference(net, some));
  return rows;
}

struct Momentum {
  const char* part;
  std::optional<double> value;
};
const Momentum kMomenta[] = {{"momentum 0.01", 0.01},
                             {"momentum 0.1", 0.1},
                             {"momentum 0.5", 0.5},
                             {"cumulative average", std::nullopt}};

/// How good the running statistics are after so many updates.
Rows follow(const Momentum& momentum, const StudyOptions& options, uint64_t seed) {
  const RunData data = run_images(options.data, seed);
  const Net net = make_net("cnn", {Norm::batch, {.momentum = momentum.value}}, data.train);
  Rows rows;
  learn(net, data, "batch", seed, [&](int64_t update) {
    if (!std::count(std::begin(kSteps), std::end(kSteps), update)) return;
    const auto add = [&](const char* quantity, const Evaluation& e) {
      rows.push_back({momentum.part, "batch", fmt::format("after {}", update),
                      static_cast<double>(update), seed, -1, quantity, e.accuracy});
    };
    add("accuracy running", net.evaluate(data.test));
    if (momentum.value != 0.1) return;  // the weights are the same whatever the momentum is
    add("accuracy batch",
        net.evaluate(data.test, {.batch_size = 64, .statistics = NormStatistics::batch}));
    add("accuracy population", evaluate_with_population(net, data.test, data.train));
  });
  return rows;
}

/// A plain convolutional net, and the same without its BatchNorms.
Rows fold(const StudyOptions& options, uint64_t seed) {
  const RunData data = run_images(options.data, seed);
  const Net net = net_of(Sequential(
      Conv2d(data.train.x.size(1), 8, 3, {.padding = 1, .kaiming = true}), BatchNorm(8), Relu(),
      Conv2d(8, 16, 3, {.stride = 2, .padding = 1, .kaiming = true}), BatchNorm(16), Relu(),
      AdaptiveAvgPool2d(1), Flatten(), Linear(16, data.train.classes)));
  train(net, data.train, {.batch_size = kBatch, .updates = 100, .lr = 1e-2}, seed);
  net.module->eval();
  auto& layers = dynamic_cast<Sequential&>(*net.module);
  const auto folded = [&](size_t i) {
    return fuse_conv_bn_eval(dynamic_cast<const Conv2d&>(layers[i]),
                             dynamic_cast<const BatchNorm&>(layers[i + 1]));
  };
  Sequential small(folded(0), Relu(), folded(3), Relu(), AdaptiveAvgPool2d(1), Flatten(),
                   dynamic_cast<const Linear&>(layers[8]));
  return {{"plain cnn", "batch", "folded", 0, seed, -1, "relative difference",
           relative_difference(small(data.test.x).to_vector<double>(),
                               net.logits(data.test).to_vector<double>())}};
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Variant& variant : kVariants)
    for (uint64_t seed : variant.context ? options.context_seeds() : options.all_seeds())
      all.push_back({fmt::format("cnn {}", variant.norm),
                     [=, &variant] { return score(variant, options, seed); }});
  for (uint64_t seed : options.context_seeds()) {
    for (const Momentum& momentum : kMomenta)
      all.push_back({momentum.part, [=, &momentum] { return follow(momentum, options, seed); }});
    all.push_back({"folding", [=] { return fold(options, seed); }});
  }
  return all;
}

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  for (const Variant& variant : kVariants)
    all.push_back({"cnn", variant.norm, "any", 1e-2, [=, &variant](double lr, uint64_t seed) {
                     const RunData data = run_images(options.data, seed);
                     const Net net = make_net("cnn", variant.choice, data.train);
                     const double loss =
                         train(net, data.train,
                               {.batch_size = kBatch, .updates = kUpdates, .lr = lr}, seed);
                     return validation_loss({net, loss}, data.validation);
                   }});
  return all;
}

struct Scoring {
  const char *norm, *quantity, *label;
  int color, point;  // gnuplot's
};
constexpr Scoring kScorings[] = {
    {"batch", "accuracy running", "BN, running", 1, 7},
    {"batch", "accuracy batch", "BN, the batch's", 6, 5},
    {"batch", "accuracy population", "BN, all training data's", 4, 9},
    {"layer", "accuracy", "LN", 2, 13},
    {"none", "accuracy", "no norm", 3, 11},
};

double times_100(double share) { return 100 * share; }

Estimate accuracy(const Rows& rows, const char* norm, const char* cell, const char* quantity) {
  return mean_over_seeds(rows, {"cnn", norm, cell, quantity});
}

Figure conditions_figure(const Rows& rows) {
  std::string data, plots, ticks;
  for (int k = 0; const Scoring& s : kScorings) {
    data += fmt::format("$s{} << END\n", k);
    for (int c = 0; const Condition& condition : kConditions) {
      const Estimate e = accuracy(rows, s.norm, condition.cell, s.quantity);
      data +=
          data_line(c++ + 0.14 * (k - 2), e, times_100, fmt::format("{}: {}", s.label, percent(e)));
    }
    data += "END\n";
    plots += fmt::format(
        "{0}$s{1} using 1:2:3:4 with yerrorbars lc {2} pt {3} title \"{4}\", "
        "'' using 1:2:5 with labels hypertext point lc {2} pt {3} ps .6 notitle",
        k ? ", " : "", k, s.color, s.point, s.label);
    ++k;
  }
  for (int c = 0; const Condition& condition : kConditions)
    ticks += fmt::format("{}\"{}\" {}", c ? ", " : "", condition.label, c), ++c;
  return {"train-inference-conditions",
          fmt::format("Test accuracy of one CNN when the data or the batches change; "
                      "of BN by the statistics it is scored with. At half the "
                      "contrast: BN with running statistics {}, with the batch's {}, LN {}, no "
                      "norm {}. In batches of 2 BN with the batch's statistics {}, sorted by "
                      "class {}.",
                      percent(accuracy(rows, "batch", "contrast", "accuracy running")),
                      percent(accuracy(rows, "batch", "contrast", "accuracy batch")),
                      percent(accuracy(rows, "layer", "contrast", "accuracy")),
                      percent(accuracy(rows, "none", "contrast", "accuracy")),
                      percent(accuracy(rows, "batch", "pairs", "accuracy batch")),
                      percent(accuracy(rows, "batch", "sorted", "accuracy batch"))),
          fmt::format("{}set ylabel 'test accuracy (%)'\nset yrange [0:102]\n"
                      "set xrange [-.5:4.5]\nset xtics ({})\nset bmargin 3.5\nset key tmargin "
                      "center horizontal samplen 3\nplot {}\n",
                      data, ticks, plots)};
}

Estimate after(const Rows& rows, const char* part, int64_t step, const char* quantity) {
  const std::string cell = fmt::format("after {}", step);
  return mean_over_seeds(rows, {part, "batch", cell.c_str(), quantity});
}

Figure steps_figure(const Rows& rows) {
  struct Line {
    const char *part, *quantity, *label;
    int color, dash;
  };
  const Line lines[] = {
      {"momentum 0.1", "accuracy batch", "the batch's", 6, 1},
      {"momentum 0.1", "accuracy population", "of all training data", 4, 1},
      {"momentum 0.5", "accuracy running", "running, momentum 0.5", 1, 3},
      {"momentum 0.1", "accuracy running", "running, momentum 0.1", 1, 1},
      {"momentum 0.01", "accuracy running", "running, momentum 0.01", 1, 2},
      {"cumulative average", "accuracy running", "running, cumulative average", 5, 1},
  };
  std::string data, plots;
  for (int k = 0; const Line& line : lines) {
    data += fmt::format("$s{} << END\n", k);
    for (int64_t step : kSteps) {
      const Estimate e = after(rows, line.part, step, line.quantity);
      data += data_line(static_cast<double>(step), e, times_100,
                        fmt::format("{}, after {} updates: {}", line.label, step, percent(e)));
    }
    data += "END\n";
    plots += fmt::format(
        "{0}$s{1} using 1:2 with lines lc {2} dt {3} lw 2 title \"{4}\", "
        "'' using 1:2:5 with labels hypertext point lc {2} pt 7 ps .6 notitle",
        k ? ", " : "", k, line.color, line.dash, line.label);
    ++k;
  }
  return {"train-inference-steps",
          fmt::format("Test accuracy of a CNN with BN while it trains, by the statistics it is "
                      "scored with. After 80 updates: running statistics of momentum 0.1 {}, of "
                      "0.01 {}, those of all training data {}.",
                      percent(after(rows, "momentum 0.1", 80, "accuracy running")),
                      percent(after(rows, "momentum 0.01", 80, "accuracy running")),
                      percent(after(rows, "momentum 0.1", 80, "accuracy population"))),
          fmt::format("{}set logscale x\nset xlabel 'updates'\nset ylabel 'test accuracy (%)'\n"
                      "set yrange [0:102]\nset xtics (5,10,20,40,80,150,300)\n"
                      "set key left top\nplot {}\n",
                      data, plots)};
}

std::vector<Figure> figures(const Rows& rows) {
  return {conditions_figure(rows), steps_figure(rows)};
}

double largest(const Rows& rows, const char* part, const char* norm, const char* cell,
               const char* quantity) {
  double value = 0;
  for (const auto& [seed, of_seed] : by_seed(rows, {part, norm, cell, quantity}))
    value = std::max(value, of_seed);
  return value;
}

std::vector<std::string> findings(const Rows& rows) {
  const auto against = [&](const char* norm, const char* cell) {
    return points(mean_difference(rows, {"cnn", "batch", cell, "accuracy running"},
                                  {"cnn", norm, cell, "accuracy"}));
  };
  const auto batch_against_running = [&](const char* cell) {
    return points(mean_difference(rows, {"cnn", "batch", cell, "accuracy batch"},
                                  {"cnn", "batch", cell, "accuracy running"}));
  };
  const auto after_text = [&](int64_t step) {
    const auto running = [&](const char* part) {
      return percent(after(rows, part, step, "accuracy running"));
    };
    return fmt::format(
        "After {} updates running statistics of momentum 0.01 label {} right, of 0.1 {}, of 0.5 "
        "{}, the cumulative average {}; those of all training data {}.",
        step, running("momentum 0.01"), running("momentum 0.1"), running("momentum 0.5"),
        running("cumulative average"),
        percent(after(rows, "momentum 0.1", step, "accuracy population")));
  };
  return {
      fmt::format("On data like the training data BN with running statistics labels {} right, "
                  "with statistics of all training data {}, LN {}, LN with a weight a channel {}, "
                  "no norm {}.",
                  percent(accuracy(rows, "batch", "same", "accuracy running")),
                  percent(accuracy(rows, "batch", "same", "accuracy population")),
                  percent(accuracy(rows, "layer", "same", "accuracy")),
                  percent(accuracy(rows, "layer_channel", "same", "accuracy")),
                  percent(accuracy(rows, "none", "same", "accuracy"))),
      fmt::format("If BN took the batch's statistics at inference, too: {} against running ones in "
                  "batches of 64, {} in batches of 2, {} in batches of 8 sorted by class.",
                  batch_against_running("same"), batch_against_running("pairs"),
                  batch_against_running("sorted")),
      fmt::format("At half the contrast BN with running statistics is {} from LN and {} from no "
                  "norm. The net without a norm is the control: what it keeps ({}) is no merit of "
                  "LN's ({}).",
                  against("layer", "contrast"), against("none", "contrast"),
                  percent(accuracy(rows, "none", "contrast", "accuracy")),
                  percent(accuracy(rows, "layer", "contrast", "accuracy"))),
      fmt::format("Brighter by one standard deviation of the pixels: BN with running statistics "
                  "{}, with the batch's {}, LN {}, no norm {}.",
                  percent(accuracy(rows, "batch", "brightness", "accuracy running")),
                  percent(accuracy(rows, "batch", "brightness", "accuracy batch")),
                  percent(accuracy(rows, "layer", "brightness", "accuracy")),
                  percent(accuracy(rows, "none", "brightness", "accuracy"))),
      fmt::format("The same 64 images in training and in inference: the logits of BN differ by "
                  "{:.2g} of the largest, those of LN by {:.2g}.",
                  largest(rows, "cnn", "batch", "all", "mode difference"),
                  std::max(largest(rows, "cnn", "layer", "all", "mode difference"),
                           largest(rows, "cnn", "layer_channel", "all", "mode difference"))),
      fmt::format("At inference a batch of one is fine: alone an image's logits are those it has "
                  "among 64 to {:.1g} (BN), {:.1g} (LN), {:.1g} (none) of the largest.",
                  largest(rows, "cnn", "batch", "alone", "relative difference"),
                  largest(rows, "cnn", "layer", "alone", "relative difference"),
                  largest(rows, "cnn", "none", "alone", "relative difference")),
      after_text(80),
      after_text(kUpdates),
      fmt::format("Folded into the convolutions before them, two BatchNorms leave the logits as "
                  "they were to {:.1g} of the largest.",
                  largest(rows, "plain cnn", "batch", "folded", "relative difference")),
  };
}

const ExperimentEntry entry(
    40,
    {.name = "train-inference",
     .statements = {3},
     .question = "What changes between training and inference?",
     .setup =
         "A residual CNN of 8 and 16 channels on the digits, Adam, batches of 32, 300 updates, "
         "with BN, with LN (a weight a pixel, or a channel), with none; each one's rate was tuned "
         "on validation data with other seeds. The trained nets are scored on the test images: BN "
         "with its running statistics (momentum 0.1), with those of the evaluated batch, and with "
         "those of all training data. Conditions: the test images as they are, in random batches "
         "of 64; in batches of 2; sorted by class in batches of 8; with half the contrast "
         "(standardized pixels times 0.5); brighter by one standard deviation of the training "
         "pixels. Beside it, BN is scored after 5 to 300 updates with running statistics of "
         "several momenta; a batch of one is compared with a batch of 64 at inference; and in a "
         "plain CNN trained for 100 updates the BatchNorms are folded into the convolutions.",
     .rule =
         "Hypotheses: LN computes the same in training and in inference, so the largest relative "
         "difference of its logits is 0 (endpoint layer-modes: exact if below 1e-5). BN does not: "
         "where the test images have half the contrast its accuracy with running statistics is "
         "below that with the batch's by more than 2 points (endpoint contrast: paired difference "
         "over the seeds, two-sided t, Holm). The scorings under other conditions, the momenta "
         "and folding are described, not tested.",
     .limits =
         "One small CNN on one data set of 8x8 images; all seeds share the test images. Contrast "
         "and brightness are two changes of one size each; the batch's statistics help with them "
         "because a whole batch changes alike. Batches sorted by class are the extreme case of "
         "samples that are not independent.",
     .sources = {{"Ioffe & Szegedy 2015", "section 3.1",
                  "inference, where BN is a linear transform"},
                 {"Ioffe 2017", "section 1", "dependence on the batch"},
                 {"Wu & Johnson 2021", "section 3", "population statistics"},
                 {"Wu & Johnson 2021", "section 5", "statistics of other domains"},
                 {"Ba et al. 2016", "equation 3 and abstract", "the same in training and test"}},
     .seconds = 6.5,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
