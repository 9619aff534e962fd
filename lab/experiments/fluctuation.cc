// How far the statistics of batches move, for images, sequences, and each time step.
#include <fmt/format.h>
#include <gradus/data/loader.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/models/transformer.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kSamples = 16;  // a batch
constexpr size_t kBatches = 128;  // that are looked at
constexpr size_t kFewest = 32;    // batches with statistics of a step, or it is left out
constexpr double kEps = 1e-5;     // of the layers

/// A net whose statistics are looked at, normalized by BN.
struct Place {
  const char* part;  // in the rows
  const char* net;   // for make_net
  const char* norm;  // in the rows
  const char* title;
  bool steps;  // its statistics are those of one layer at time steps, not of layers
  int colour;
};
constexpr Place kPlaces[] = {
    {"cnn", "cnn", "batch", "CNN, images", false, 1},
    {"patches", "transformer", "batch", "transformer, images", false, 4},
    {"transformer", "transformer", "batch", "transformer, vowels", false, 2},
    {"rnn", "rnn", "batch per step", "RNN, a BN a step", true, 5}};

bool per_step(const Place& place) { return place.norm == std::string_view("batch per step"); }

/// The images as sequences of squares, about four by four of them.
Dataset as_patches(const Dataset& images) {
  const int64_t height = images.x.size(2), width = images.x.size(3);
  int64_t size = std::max<int64_t>(1, std::gcd(height, width) / 4);
  while (height % size != 0 || width % size != 0) --size;
  Dataset sequences = images;
  sequences.x = raw::contiguous(patches(images.x, size));
  return sequences;
}

RunData data_of(const Place& place, const StudyOptions& options, uint64_t seed) {
  if (place.part != std::string_view("patches")) return data_for(place.net, options, seed);
  const RunData images = data_for("cnn", options, seed);
  return {as_patches(images.train), as_patches(images.validation), as_patches(images.test)};
}

Trained trained(const Place& place, const RunData& data, double lr, uint64_t seed) {
  const Net net = make_net(place.net, Norm::batch, data.train, per_step(place));
  TrainOptions options = usual_training(place.net);
  options.lr = lr;
  return {net, train(net, data.train, options, seed)};
}

double rate_of(const Place& place) {
  const bool own = place.part == std::string_view("patches");
  return own ? tuned_rate("fluctuation", place.part, place.norm, "full").lr
             : tuned_rate("statistics-batch", place.part, place.norm, "full").lr;
}

/// The statistics of many random batches in training: of each forward's first, second, ... in a
/// list of its own.
std::vector<std::vector<BatchStatistics>> told(const Net& net, const Dataset& data, uint64_t seed) {
  std::vector<BatchStatistics> heard;
  for (const auto& [name, module] : net.module->named_modules())
    if (auto* norm = dynamic_cast<BatchNorm*>(module))
      norm->observer = [&](const BatchStatistics& batch) { heard.push_back(batch); };
  net.module->train();
  const DataLoader loader(data, {.batch_size = kSamples, .seed = seed, .last = LastBatch::drop});
  std::vector<std::vector<BatchStatistics>> all;
  for (size_t batches = 0, epoch = 0; batches < kBatches; ++epoch)
    for (const Dataset& batch : loader.epoch(1000 + epoch)) {
      if (batches++ == kBatches) break;
      heard.clear();
      net.logits(batch);
      if (all.size() < heard.size()) all.resize(heard.size());
      for (size_t i = 0; i < heard.size(); ++i) all[i].push_back(heard[i]);
    }
  for (const auto& [name, module] : net.module->named_modules())
    if (auto* norm = dynamic_cast<BatchNorm*>(module)) norm->observer = {};
  return all;
}

/// Mean and variance of all values of several batches, a channel each.
struct Moments {
  std::vector<double> mean, var;
};

Moments moments_of(const std::vector<BatchStatistics>& batches) {
  const auto channels = static_cast<size_t>(batches[0].mean.numel());
  Moments all{std::vector<double>(channels), std::vector<double>(channels)};
  double count = 0;
  for (const BatchStatistics& b : batches) count += static_cast<double>(b.count);
  for (const BatchStatistics& b : batches) {
    const auto mean = b.mean.to_vector<double>(), var = b.var.to_vector<double>();
    const double share = static_cast<double>(b.count) / count;
    for (size_t c = 0; c < channels; ++c) {
      all.mean[c] += share * mean[c];
      all.var[c] += share * (var[c] + mean[c] * mean[c]);
    }
  }
  for (size_t c = 0; c < channels; ++c)
    all.var[c] = std::max(0.0, all.var[c] - all.mean[c] * all.mean[c]);
  return all;
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// norm(a - b) / norm(sigma)
double distance(const std::vector<double>& a, const std::vector<double>& b,
                const std::vector<double>& var) {
  double squares = 0;
  for (size_t c = 0; c < a.size(); ++c) squares += (a[c] - b[c]) * (a[c] - b[c]);
  return std::sqrt(squares / sum_of(var));
}

/// How far a layer's or a step's statistics move.
struct Movement {
  double mean = 0;       // E norm(mu_B - mu) / norm(sigma)
  double deviation = 0;  // E root of the mean square over channels of log sigma_B - log sigma
  double values = 0;     // E n, values a channel
  double inflation = 0;  // E n norm(mu_B - mu)^2 / norm(sigma)^2: 1 of independent values
};

Movement movement_of(const std::vector<BatchStatistics>& batches) {
  const Moments all = moments_of(batches);
  const auto share = 1 / static_cast<double>(batches.size());
  Movement moves;
  for (const BatchStatistics& b : batches) {
    const auto var = b.var.to_vector<double>();
    const double moved = distance(b.mean.to_vector<double>(), all.mean, all.var);
    double logs = 0;
    for (size_t c = 0; c < var.size(); ++c)
      logs += std::pow(std::log((var[c] + kEps) / (all.var[c] + kEps)) / 2, 2);
    const auto count = static_cast<double>(b.count);
    moves.mean += share * moved;
    moves.deviation += share * std::sqrt(logs / static_cast<double>(var.size()));
    moves.values += share * count;
    moves.inflation += share * count * moved * moved;
  }
  return moves;
}

/// E over steps of norm(mu_t - mu) / norm(sigma), mu and sigma those of all steps together: what
/// one pair of running statistics for all steps leaves out.
double drift_of(const std::vector<std::vector<BatchStatistics>>& steps) {
  std::vector<BatchStatistics> all;
  for (const auto& step : steps) all.insert(all.end(), step.begin(), step.end());
  const Moments together = moments_of(all);
  double drift = 0;
  for (const auto& step : steps)
    drift += distance(moments_of(step).mean, together.mean, together.var);
  return drift / static_cast<double>(steps.size());
}

Rows measure(const Place& place, const StudyOptions& options, uint64_t seed) {
  const RunData data = data_of(place, options, seed);
  const Net net = trained(place, data, rate_of(place), seed).net;
  Rows rows;
  const auto add = [&](size_t at, const char* quantity, double value) {
    rows.push_back({place.part, place.norm, at ? fmt::format("at {}", at) : "all",
                    static_cast<double>(at), seed, -1, quantity, value});
  };
  add(0, "accuracy", net.evaluate(data.test).accuracy);
  auto statistics = told(net, data.train, seed);
  std::erase_if(statistics, [](const auto& batches) { return batches.size() < kFewest; });
  Movement mean;
  const auto share = 1 / static_cast<double>(statistics.size());
  for (size_t at = 1; const auto& batches : statistics) {
    const Movement m = movement_of(batches);
    add(at, "mean moves", m.mean);
    add(at, "deviation moves", m.deviation);
    add(at, "inflation", m.inflation);
    add(at++, "values", m.values);
    mean.mean += share * m.mean, mean.deviation += share * m.deviation;
    mean.values += share * m.values;
  }
  add(0, "mean moves", mean.mean);
  add(0, "deviation moves", mean.deviation);
  add(0, "values", mean.values);
  if (place.steps) add(0, "drift", drift_of(statistics));
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Place& place : kPlaces)
    for (const uint64_t seed : options.context_seeds())
      all.push_back({fmt::format("{} {}", place.part, place.norm),
                     [=] { return measure(place, options, seed); }});
  return all;
}

/// The others' rates are the map's.
std::vector<Tunable> tunables(const StudyOptions& options) {
  const Place& place = kPlaces[1];
  return {{place.part, place.norm, "full", 3e-3, [=](double lr, uint64_t seed) {
             const RunData data = data_of(place, options, seed);
             return validation_loss(trained(place, data, lr, seed), data.validation);
           }}};
}

Estimate over_seeds(const Rows& rows, const Place& place, const std::string& cell,
                    const char* quantity, double (*f)(double) = plain) {
  return mean_over_seeds(rows, {place.part, place.norm, cell.c_str(), quantity}, f);
}

std::string number(const Estimate& e) {
  if (e.degrees == 0) return fmt::format("{:.3f}", e.mean);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", e.mean, e.low(), e.high());
}

/// Where the place has statistics, in all seeds: layers or steps, from 1.
std::vector<int64_t> positions(const Rows& rows, const Place& place) {
  std::map<int64_t, size_t> seeds;
  for (const Row& row : rows)
    if (row.x > 0 && belongs(row, {place.part, place.norm, "", "values"}))
      ++seeds[static_cast<int64_t>(row.x)];
  std::vector<int64_t> all;
  for (const auto& [at, count] : seeds)
    if (count == seeds.begin()->second) all.push_back(at);
  return all;
}

std::string place_text(const Rows& rows, const Place& place) {
  return fmt::format(
      "{} ({:.0f} % right): {:.0f} values a statistic; from batch to batch the mean moves by {} of "
      "the standard deviation, the standard deviation's logarithm by {}. At the first {} the "
      "mean's variance is {:.2f} times that of as many independent values, at the last {:.2f} "
      "times.",
      place.title, 100 * over_seeds(rows, place, "all", "accuracy").mean,
      over_seeds(rows, place, "all", "values").mean,
      number(over_seeds(rows, place, "all", "mean moves")),
      number(over_seeds(rows, place, "all", "deviation moves")), place.steps ? "step" : "norm",
      over_seeds(rows, place, "at 1", "inflation").mean,
      over_seeds(rows, place, fmt::format("at {}", positions(rows, place).back()), "inflation")
          .mean);
}

/// At the first step, where it moves least, and at the last; what one pair of running statistics
/// for all steps cannot follow.
std::string steps_text(const Rows& rows, const Place& place) {
  const auto moves = [&](int64_t step) {
    return over_seeds(rows, place, fmt::format("at {}", step), "mean moves");
  };
  const auto steps = positions(rows, place);
  const int64_t least = *std::min_element(steps.begin(), steps.end(), [&](int64_t a, int64_t b) {
    return moves(a).mean < moves(b).mean;
  });
  const auto at = [&](int64_t step) {
    return fmt::format("{} at step {} ({:.1f} sequences)", number(moves(step)), step,
                       over_seeds(rows, place, fmt::format("at {}", step), "values").mean);
  };
  return fmt::format(
      "{}: the mean moves by {}, least by {}, and, as sequences have ended, by {}. A step's own "
      "mean lies {} of the standard deviation from that of all steps, as one pair of running "
      "statistics would have it.",
      place.title, at(steps.front()), at(least), at(steps.back()),
      number(over_seeds(rows, place, "all", "drift")));
}

/// The same net on two kinds of data, with about as many values a statistic.
std::string equal_values_text(const Rows& rows) {
  const Place &images = kPlaces[1], &sequences = kPlaces[2];
  const auto ratio = [&](const char* cell) {
    return mean_difference(rows, {sequences.part, sequences.norm, cell, "mean moves"},
                           {images.part, images.norm, cell, "mean moves"}, std::log);
  };
  if (!std::isfinite(ratio("all").mean)) return "";
  const auto at_first = [&](const Place& place, const char* quantity) {
    return over_seeds(rows, place, "at 1", quantity).mean;
  };
  const double of_sequences = at_first(sequences, "values"), of_images = at_first(images, "values"),
               by_values = std::sqrt(of_images / of_sequences);
  const double alike = at_first(sequences, "inflation"),
               images_alike = at_first(images, "inflation"),
               by_likeness = std::sqrt(alike / images_alike);
  return fmt::format(
      "The same transformer, 16 samples a batch, over all norms: on the vowels means move {} times "
      "as far as on images cut into squares. At the first norm it is {} times. There the numbers "
      "of values, {:.0f} and {:.0f}, alone would make it {:.2f}; and the mean's variance is {:.2f} "
      "times that of as many independent values on the vowels, {:.2f} times on the images, which "
      "by itself would make it {:.2f}: together {:.2f}.",
      exponential(ratio("all")), exponential(ratio("at 1")), of_sequences, of_images, by_values,
      alike, images_alike, by_likeness, by_values * by_likeness);
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const Place& place : kPlaces) {
    if (positions(rows, place).empty()) continue;
    all.push_back(place_text(rows, place));
    if (place.steps) all.push_back(steps_text(rows, place));
  }
  if (const std::string text = equal_values_text(rows); !text.empty()) all.push_back(text);
  return all;
}

/// The curves of layers or of steps, in one panel.
std::string panel(const Rows& rows, bool steps) {
  std::string blocks, plots;
  for (int number_of_place = 0; const Place& place : kPlaces) {
    ++number_of_place;
    if (place.steps != steps || positions(rows, place).empty()) continue;
    const std::string name = fmt::format("$place{}", number_of_place);
    blocks += name + " << END\n";
    for (const int64_t at : positions(rows, place)) {
      const std::string cell = fmt::format("at {}", at);
      const Estimate moves = over_seeds(rows, place, cell, "mean moves");
      blocks += data_line(static_cast<double>(at), moves, plain,
                          fmt::format("{}, {} {}: {}; {:.0f} values a statistic", place.title,
                                      steps ? "step" : "norm", at, number(moves),
                                      over_seeds(rows, place, cell, "values").mean));
    }
    blocks += "END\n";
    plots += fmt::format(
        "{0}{1} using 1:2:3:4 with yerrorbars lt {2} pt 7 ps .3 notitle, "
        "{1} using 1:2 with lines lt {2} title '{3}', "
        "{1} using 1:2:5 with labels hypertext point pt 7 ps .5 lt {2} notitle",
        plots.empty() ? "" : ", ", name, place.colour, place.title);
  }
  if (plots.empty()) return "";
  return fmt::format("{}set xlabel '{}'\nplot {}\n", blocks,
                     steps ? "time step" : "norm, in the order of the forward", plots);
}

std::vector<Figure> figures(const Rows& rows) {
  std::string caption =
      "How far the mean over 16 samples moves from batch to batch, in standard deviations of all "
      "values: left at each norm of three nets, right at each step of an RNN, where fewer "
      "sequences are left as they end. Bars are 95 % intervals over seeds.";
  for (const Place& place : kPlaces)
    if (!positions(rows, place).empty())
      caption += fmt::format(" {}: {} on average.", place.title,
                             number(over_seeds(rows, place, "all", "mean moves")));
  const auto moves = values_of(rows, {"", "", "", "mean moves"});
  const std::string settings = fmt::format(
      "set multiplot layout 1,2\nset yrange [0:{:.3g}]\nset tmargin 5\nset key above maxrows 3\n"
      "set ylabel 'movement / standard deviation'\n",
      moves.empty() ? 1 : 1.2 * largest(moves));
  return {{"fluctuation", caption,
           settings + "set xtics 1\n" + panel(rows, false) + "set xtics 5\nunset ylabel\n" +
               panel(rows, true) + "unset multiplot\n",
           720, 420}};
}

const ExperimentEntry entry(
    90,
    {.name = "fluctuation",
     .statements = {4, 6},
     .question = "How far do the statistics of a batch move?",
     .setup =
         "Nets with BN, trained as in statistics-batch with whole batches and its rates: the CNN "
         "on digits, the transformer and the RNN (a BN for each step) on the "
         "vowels; beside them the same transformer on digits cut into 16 squares, a token each. "
         "Then 128 random batches of 16 training samples go through the trained net in training "
         "mode. Of each BN, and of each time step of an RNN: E norm(mu_B - mu) / norm(sigma), with "
         "mu and sigma of all 128 batches together; the root of the mean square of log sigma_B - "
         "log sigma over channels; how many values a statistic has; and n norm(mu_B - mu)^2 / "
         "norm(sigma)^2, which is 1 where the n values are independent, more where those of a "
         "sample "
         "are alike, and less where each sample has the same kinds of values, or norms before it "
         "have fixed the mean.",
     .rule =
         "Context, no endpoint: no verdict rests on it. Decided beforehand: means over half of the "
         "seeds with 95 % intervals, averages over a net's norms or an RNN's steps; expected was "
         "that statistics move more the fewer values they have and the more alike these are, and "
         "that the RNN's rise as sequences end. Steps of which fewer than 32 batches had "
         "statistics, in any seed, are left out.",
     .limits =
         "At equal batches a statistic of the CNN has many more values than one of a transformer, "
         "and an RNN's step has one a sequence: what is compared are places in nets, not images "
         "with sequences as such. There is no text here, so that text moves more than images is "
         "not shown. mu and sigma are of the same training samples, few of them at late steps, "
         "which makes movements there look smaller. Statistics of deeper norms move also because "
         "those before them do.",
     .sources = {{"Shen et al. 2020", "section 3 and figure 2",
                  "statistics of batches in transformers"},
                 {"Cooijmans et al. 2016", "section 3", "statistics of each step"}},
     .seconds = 4,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
