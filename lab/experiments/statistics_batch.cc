// The headline: over how many samples a statistic has to be taken. The optimizer's batch, the rates
// and the number of updates are fixed within a net; what varies is the group g of samples that
// share BatchNorm's statistics (Hoffer et al. 2017).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "lab/study/figures.h"
#include "lab/study/nets.h"
#include "lab/study/verdicts.h"

namespace gradus::lab {

namespace {

struct Cell {
  std::string net;
  std::string norm;  // in the rows
  NormChoice choice;
  bool per_step;
  std::string cell;
  int64_t g;  // 0: does not matter
};

constexpr const char* kNets[] = {"cnn", "mlp", "transformer", "rnn"};

/// One image has many values a channel; one unit of the others, or a step of an RNN, has one.
int64_t smallest_group(const std::string& net) { return net == "cnn" ? 1 : 2; }

/// The samples of a statistic, up to the whole batch; nets of sequences take long, so fewer there.
std::vector<int64_t> groups(const std::string& net) {
  const int64_t whole = usual_training(net).batch_size;
  const int64_t factor = net == "rnn" || net == "transformer" ? 4 : 2;
  std::vector<int64_t> all;
  for (int64_t g = smallest_group(net); g < whole; g *= factor) all.push_back(g);
  all.push_back(whole);
  return all;
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (const std::string net : kNets) {
    const int64_t whole = usual_training(net).batch_size;
    for (const int64_t g : groups(net))
      for (bool per_step : {false, true}) {
        if (per_step && net != "rnn") continue;
        all.push_back({net,
                       per_step ? "batch per step" : "batch",
                       {Norm::batch, {.ghost_size = g == whole ? 0 : g}},
                       per_step,
                       g == whole ? "full" : fmt::format("g={}", g),
                       g});
      }
    all.push_back({net, "layer", Norm::layer, false, "any", 0});
    if (net == "cnn") all.push_back({net, "layer_channel", Norm::layer_channel, false, "any", 0});
    all.push_back({net, "none", Norm::none, false, "any", 0});
  }
  return all;
}

Trained trained(const Cell& cell, const RunData& data, double lr, uint64_t seed) {
  const Net net = make_net(cell.net, cell.choice, data.train, cell.per_step);
  TrainOptions options = usual_training(cell.net);
  options.lr = lr;
  return {net, train(net, data.train, options, seed)};
}

/// Whether a primary endpoint names the cell: it has all seeds then, and rows of each test item.
bool primary(const Cell& cell) {
  const auto names = [&](const Series& series) {
    return series.part != nullptr && cell.net == series.part && cell.norm == series.norm &&
           cell.cell == series.cell;
  };
  const auto& all = all_endpoints();
  return std::any_of(all.begin(), all.end(), [&](const Endpoint& e) {
    return e.experiment == std::string_view("statistics-batch") && (names(e.a) || names(e.b));
  });
}

/// The loss of random batches that are normalized as in training: with their groups' statistics.
double loss_as_in_training(const Net& net, const Cell& cell, const Dataset& data) {
  return net
      .evaluate(data[randperm(data.size())], {.batch_size = usual_training(cell.net).batch_size,
                                              .statistics = NormStatistics::batch})
      .loss;
}

Rows measure(const Cell& cell, const StudyOptions& options, uint64_t seed) {
  const RunData data = data_for(cell.net, options, seed);
  const double lr = tuned_rate("statistics-batch", cell.net, cell.norm, cell.cell).lr;
  const Net net = trained(cell, data, lr, seed).net;
  Rows rows;
  const auto add = [&](const char* quantity, double value, int64_t item = -1) {
    rows.push_back(
        {cell.net, cell.norm, cell.cell, static_cast<double>(cell.g), seed, item, quantity, value});
  };
  const Evaluation running = net.evaluate(data.test);
  add("loss", running.loss);
  add("accuracy", running.accuracy);
  if (primary(cell)) {
    for (int64_t i = 0; const double item : running.losses.to_vector<double>())
      add("loss", item, i++);
    for (int64_t i = 0; const double item : brier_scores(net, data.test)) add(kBrier, item, i++);
  }
  if (cell.norm == "layer") add("training loss", net.evaluate(data.train).loss);
  if (cell.g == 0) return rows;
  if (cell.g == smallest_group(cell.net)) {
    add("training loss batch", loss_as_in_training(net, cell, data.train));
    add("loss batch", loss_as_in_training(net, cell, data.test));
  }
  const Evaluation population = evaluate_with_population(net, data.test, data.train);
  add("loss population", population.loss);
  add("accuracy population", population.accuracy);
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Cell& cell : cells())
    for (uint64_t seed : seeds_of_cell(options, "statistics-batch", cell.net, cell.norm, cell.cell))
      all.push_back({fmt::format("{} {} {}", cell.net, cell.norm, cell.cell),
                     [=] { return measure(cell, options, seed); }});
  return all;
}

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  for (const Cell& cell : cells())
    all.push_back({cell.net, cell.norm, cell.cell, 3e-3, [=](double lr, uint64_t seed) {
                     const RunData data = data_for(cell.net, options, seed);
                     return validation_loss(trained(cell, data, lr, seed), data.validation);
                   }});
  return all;
}

/// Log ratios of test losses to another norm's; 0 is the x of what has no g.
LogRatios log_ratios(const Rows& rows, const std::string& part, const std::string& norm,
                     const std::string& other, const std::string& quantity = "loss") {
  std::map<uint64_t, double> below;
  for (const Row& row : rows)
    if (row.part == part && row.norm == other && row.item < 0 && row.quantity == "loss")
      below[row.seed] = row.value;
  LogRatios ratios;
  for (const Row& row : rows)
    if (row.part == part && row.norm == norm && row.item < 0 && row.quantity == quantity &&
        below.contains(row.seed))
      ratios[row.x][row.seed] = std::log(row.value / below[row.seed]);
  return ratios;
}

/// A panel of the map: BN in a net, or in a net a norm a step.
struct Panel {
  const char *part, *norm, *title;
};
constexpr Panel kPanels[] = {{"cnn", "batch", "CNN"},
                             {"mlp", "batch", "MLP"},
                             {"transformer", "batch", "transformer"},
                             {"rnn", "batch", "RNN"},
                             {"rnn", "batch per step", "RNN, a BN a step"}};

/// Covers all cells of the map at once with 95 %, by Bonferroni, those of LN over none with them.
double band(const Rows& rows) {
  size_t cells = 0;
  for (const Panel& p : kPanels) cells += log_ratios(rows, p.part, p.norm, "layer").size();
  for (const char* net : kNets) cells += log_ratios(rows, net, "layer", "none").size();
  return simultaneous(cells);
}

/// A panel's data, $bnN and $lnN; the latter over the panel's whole width.
std::string panel_data(const Rows& rows, const Panel& panel, int number) {
  std::string text = fmt::format("$bn{} << END\n", number);
  for (const auto& [g, values] : log_ratios(rows, panel.part, panel.norm, "layer")) {
    const Estimate e = mean_of(values);
    text +=
        data_line(g, e, std::exp,
                  fmt::format("{}, g={}: BN / LN {}", panel.title, g, exponential(e, band(rows))),
                  band(rows));
  }
  text += fmt::format("END\n$ln{} << END\n", number);
  for (const auto& [any, values] : log_ratios(rows, panel.part, "layer", "none"))
    for (const double x : {0.75, 85.0}) {
      const Estimate e = mean_of(values);
      text += data_line(x, e, std::exp,
                        fmt::format("{}: LN / none {}", panel.title, exponential(e, band(rows))),
                        band(rows));
    }
  return text + "END\n";
}

std::string panel_plot(const Panel& panel, int number) {
  return fmt::format(
      "set title '{0}'\nset ylabel '{2}'\n"
      "plot 1 with lines lc rgb '#b0b0b0' lw 1 notitle, "
      "$ln{1} using 1:3:4 with filledcurves fs transparent solid .2 noborder lt 2 notitle, "
      "$ln{1} using 1:2 with lines lt 2 notitle, "
      "$ln{1} using 1:2:5 with labels hypertext point pt 7 ps .4 lt 2 notitle, "
      "$bn{1} using 1:2:3:4 with yerrorbars lt 1 pt 7 ps .3 notitle, "
      "$bn{1} using 1:2 with lines lt 1 notitle, "
      "$bn{1} using 1:2:5 with labels hypertext point pt 7 ps .6 lt 1 notitle\n",
      panel.title, number, number % 3 == 1 ? "ratio of test losses" : "");
}

/// The primary cells' ratios, and the MLP's crossing.
std::string caption(const Rows& rows) {
  std::string text;
  for (const Panel& p : kPanels)
    for (const auto& [g, values] : log_ratios(rows, p.part, p.norm, "layer")) {
      const bool last = std::string(p.part) == "cnn" && g == 32;
      if (g == (std::string(p.part) == "cnn" ? 1 : 2) || last)
        text += fmt::format("{} {} g={} {}", text.empty() ? "" : ",", p.title, g,
                            exponential(mean_of(values), band(rows)));
    }
  const std::string crossed =
      crossing_text(log_ratios(rows, "mlp", "batch", "layer"), "g", band(rows));
  return "BN's test loss over LN's (blue) against the samples g that share a statistic, with bars "
         "that cover all cells at once with 95 % for new seeds on these test items; in orange, so "
         "too, LN's over that without a norm. "
         "Above 1 the first of the two is worse." +
         (text.empty() ? "" : " BN / LN:" + text) +
         (crossed.empty() ? "." : "; the MLP's curve" + crossed.substr(1) + ".");
}

std::vector<Figure> figures(const Rows& rows) {
  std::string blocks, plots;
  for (int number = 1; const Panel& panel : kPanels) {
    blocks += panel_data(rows, panel, number);
    plots += panel_plot(panel, number++);
  }
  return {{"statistics-batch", caption(rows),
           blocks +
               "set multiplot layout 2,3\nset logscale x 2\nset logscale y\nset xrange [.75:85]\n"
               "set yrange [.1:40]\nset xtics (1, 2, 4, 8, 16, 32, 64)\n"
               "set ytics (.125, .5, 1, 2, 4, 8, 16, 32)\nset tics font ',11'\n"
               "set xlabel 'samples a statistic, g'\nset lmargin 8\nset rmargin 1\nunset key\n" +
               plots +
               "unset title\nunset border\nunset tics\nunset grid\nunset xlabel\nunset "
               "ylabel\nunset lmargin\nunset rmargin\n"
               "set key center center\n"
               "plot NaN with linespoints lt 1 pt 7 title 'BN / LN', "
               "NaN with lines lt 2 title 'LN / none', "
               "NaN with lines lc rgb '#b0b0b0' lw 1 title 'equal losses'\nunset multiplot\n",
           720, 480}};
}

/// What the cells' accuracies are with statistics of whole batches, in the seeds that all have.
std::string accuracies(const Rows& rows, const Panel& panel) {
  const std::tuple<const char*, const char*, const char*> norms[] = {
      {"BN with whole batches", panel.norm, "full"},
      {"LN", "layer", "any"},
      {"no norm", "none", "any"}};
  std::map<uint64_t, std::vector<double>> of_seed;
  for (const auto& [name, norm, cell] : norms)
    for (const auto& [seed, value] : by_seed(rows, {panel.part, norm, cell, "accuracy"}))
      of_seed[seed].push_back(value);
  std::erase_if(of_seed, [&](const auto& s) { return s.second.size() < std::size(norms); });
  std::string text;
  for (size_t i = 0; i < std::size(norms); ++i) {
    std::vector<double> values;
    for (const auto& [seed, all] : of_seed) values.push_back(all[i]);
    text +=
        fmt::format("{}{} {}", i ? ", " : "", std::get<0>(norms[i]), percent(estimate_of(values)));
  }
  return of_seed.empty() ? "" : fmt::format("{} ({} seeds)", text, of_seed.size());
}

/// Whether running statistics that do not fit explain BN's loss at the smallest and the largest g.
std::string population_text(const Rows& rows, const Panel& panel) {
  std::string text;
  const LogRatios to_layer = log_ratios(rows, panel.part, panel.norm, "layer", "loss population");
  for (const auto& [g, values] : to_layer) {
    if (g != to_layer.begin()->first && g != to_layer.rbegin()->first) continue;
    const std::string cell = by_seed(rows, {panel.part, panel.norm, "full", "loss"}).empty() ||
                                     g != to_layer.rbegin()->first
                                 ? fmt::format("g={}", g)
                                 : "full";
    const Series running{panel.part, panel.norm, cell.c_str(), "loss"};
    const Series population{panel.part, panel.norm, cell.c_str(), "loss population"};
    text += fmt::format("{} at g={} {} of that with running statistics, {} of LN's",
                        text.empty() ? "" : ";", g,
                        exponential(mean_difference(rows, population, running, std::log)),
                        exponential(mean_of(values)));
  }
  return text;
}

/// How much of an excess, the logarithm of a ratio, goes where it becomes `rest`.
std::string share_gone(double excess, double rest) {
  return rest < excess ? fmt::format("{:.0f} %", 100 * (1 - rest / excess)) : "nothing";
}

/// Whether training failed at the smallest group, or only inference with other statistics.
std::string failure_text(const Rows& rows, const Panel& panel) {
  const std::string cell = fmt::format("g={}", smallest_group(panel.part));
  const auto to_layer = [&](const char* quantity, const char* of_layer) {
    return mean_difference(rows, {panel.part, panel.norm, cell.c_str(), quantity},
                           {panel.part, "layer", "any", of_layer}, std::log);
  };
  const Estimate training = to_layer("training loss batch", "training loss");
  const Estimate running = to_layer("loss", "loss"), own = to_layer("loss batch", "loss"),
                 population = to_layer("loss population", "loss");
  if (!std::isfinite(training.mean)) return "";
  const Estimate layer =
      mean_over_seeds(rows, {panel.part, "layer", "any", "training loss"}, std::log);
  std::string text = fmt::format(
      "{}, {}: BN's loss over LN's on the training data, with the groups' own statistics as in "
      "training, {} (LN's loss there is {:.2g}); on the test data with the groups' own {}, with "
      "those of all training data {}, with running ones {}.",
      panel.title, cell, exponential(training), std::exp(layer.mean), exponential(own),
      exponential(population), exponential(running));
  if (training.degrees == 0) return text;
  const bool behind_as_trained = training.low() > 0 && own.low() > 0;
  if (behind_as_trained && running.low() > 0)
    text +=
        " By these intervals, each of its own 95 % for new seeds, BN is behind whichever "
        "statistics score it, as it is trained, too.";
  else if (behind_as_trained)
    text +=
        " So BN is behind as it is trained, among a group's noise; that it is with running "
        "statistics is not shown.";
  else if (running.low() > 0 && own.high() < running.low())
    text +=
        own.low() > 0
            ? " So BN is behind at inference, further with other statistics than with the groups' "
              "own; that it is on the training data, as it is trained, is not shown."
            : " So BN is behind at inference, with other statistics than the groups' own; that it "
              "is as it is trained is not shown.";
  else
    text += " So that it is behind as it is trained is not shown.";
  if (running.low() > 0)
    text += fmt::format(
        " Of the excess with running statistics (the ratio's logarithm) those of all training data "
        "repair {}, the groups' own {}.",
        share_gone(running.mean, population.mean), share_gone(running.mean, own.mean));
  return text;
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const Panel& panel : kPanels) {
    const LogRatios ratios = log_ratios(rows, panel.part, panel.norm, "layer");
    std::string text;
    for (const auto& [g, values] : ratios)
      text += fmt::format("{} g={} {}", text.empty() ? "" : ",", g,
                          exponential(mean_of(values), band(rows)));
    if (text.empty()) continue;
    all.push_back(fmt::format("{}: BN's test loss over LN's (simultaneous 95 % for new seeds){}{}.",
                              panel.title, text, crossing_text(ratios, "g", band(rows))));
    if (const std::string right = accuracies(rows, panel); !right.empty())
      all.push_back(fmt::format("{}: right are {}.", panel.title, right));
    all.push_back(fmt::format("{}: BN's test loss with population statistics:{}.", panel.title,
                              population_text(rows, panel)));
    if (const std::string failed = failure_text(rows, panel); !failed.empty())
      all.push_back(failed);
  }
  for (const char* net : kNets)
    for (const auto& [any, values] : log_ratios(rows, net, "layer", "none"))
      all.push_back(fmt::format("{}: LN's test loss over that without a norm {} (simultaneous).",
                                in_words(net), exponential(mean_of(values), band(rows))));
  for (const auto& [any, values] : log_ratios(rows, "cnn", "layer_channel", "layer"))
    all.push_back(
        fmt::format("CNN: the test loss of LN with a weight a channel over that of LN "
                    "with a weight an element {}.",
                    exponential(mean_of(values))));
  return all;
}

const ExperimentEntry entry(
    30,
    {.name = "statistics-batch",
     .statements = {2, 4},
     .question = "Over how many samples has a statistic to be taken?",
     .setup = "Digits (8x8): a residual CNN (8 and 16 channels, batches of 32) and an MLP "
              "(three layers of 64, "
              "relu, batches of 64). Japanese Vowels: a transformer (width 32, two blocks, "
              "norms before) and an "
              "RNN (32 units, the norm on the recurrent sum, its weight 1 at the start); the "
              "transformer has batches of 16, the RNN of 32. Adam, 400 updates, for the RNN "
              "800 with the norm of the gradient clipped at 1: alike for all norms of a net. "
              "What differs is the norm and, for BN, the group g of samples that share its "
              "statistics: by factors of 2, in the nets of sequences of 4. The "
              "rates are chosen for each cell on validation data with other seeds.",
     .rule = "Primary endpoints: mlp-2, cnn-1, cnn-full, rnn-2, rnn-step-2 and transformer-2, "
             "each the log "
             "ratio of BN's test loss to LN's, and layer-rnn and layer-transformer, that of "
             "LN's to no norm's, for that BN does harm does not show that LN helps (added "
             "after a look at seeds 1 to 10); paired by seed, for new seeds and new test "
             "items; margin 10 % "
             "of the loss, two-sided, in the family of all primary endpoints by Holm. Beside "
             "each stands the same ratio of Brier scores (the squared error of the class "
             "probabilities), which a few items with large losses cannot lead: named before "
             "any was seen, and no verdict rests on it. The "
             "other cells are "
             "context with half of the seeds. At the smallest groups the trained net is also "
             "scored as it is trained, on random batches with their groups' own statistics, "
             "on the training and the test data: what is behind LN on both, and with running "
             "statistics, has failed in training; what is behind with running ones alone has "
             "failed at inference.",
     .limits =
         "Small nets and small data sets; all seeds vary over one data set. The RNN's batch, "
         "number of updates and clipping were chosen on validation data so that BN with "
         "whole batches learns, too, after it had not in batches of 16 and 400 updates; at "
         "other budgets its cells may differ. The "
         "bands cover all cells of the map for new seeds on the same test items. A curve crosses "
         "1 where, interpolated seed by seed between two cells that exclude 1 with opposite "
         "signs, such an interval covers 1.",
     .sources = {{"Hoffer et al. 2017", "section 4", "ghost batches"},
                 {"Wu & He 2018", "section 4.1", "few images a statistic"},
                 {"Wu & Johnson 2021", "section 3", "population statistics"},
                 {"Pascanu et al. 2013", "section 3.2", "clipping"}},
     .seconds = 50,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
