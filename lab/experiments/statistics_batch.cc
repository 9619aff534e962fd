// The headline: over how many samples a statistic has to be taken. The optimizer's batch, the rates
// and the number of updates are fixed within a net; what varies is the group g of samples that
// share BatchNorm's statistics (Hoffer et al. 2017).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "lab/study/figures.h"
#include "lab/study/nets.h"
#include "lab/study/verdicts.h"

namespace gradus::lab {

namespace {

struct Kind {
  const char* part;  // in the rows
  const char* net;   // for make_net
  int64_t batch_size;
  int64_t updates;
  double clip_norm;  // 0: gradients are not clipped
  bool images;
};
constexpr Kind kKinds[] = {
    {"cnn", "cnn", 32, 400, 0, true},
    {"mlp", "mlp", 64, 400, 0, true},
    {"transformer", "transformer", 16, 400, 0, false},
    {"rnn", "rnn", 32, 800, 1, false},
};

struct Cell {
  const Kind* kind;
  std::string norm;  // in the rows
  NormChoice choice;
  bool per_step;
  std::string cell;
  int64_t g;  // 0: does not matter
};

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (const Kind& kind : kKinds) {
    const bool rnn = std::string(kind.part) == "rnn";
    for (int64_t g = std::string(kind.part) == "cnn" ? 1 : 2; g <= kind.batch_size; g *= 2)
      for (bool per_step : {false, true}) {
        if (per_step && !rnn) continue;
        const bool full = g == kind.batch_size;
        all.push_back({&kind,
                       per_step ? "batch per step" : "batch",
                       {Norm::batch, {.ghost_size = full ? 0 : g}},
                       per_step,
                       full ? "full" : fmt::format("g={}", g),
                       g});
      }
    all.push_back({&kind, "layer", Norm::layer, false, "any", 0});
    if (kind.net == std::string("cnn"))
      all.push_back({&kind, "layer_channel", Norm::layer_channel, false, "any", 0});
    all.push_back({&kind, "none", Norm::none, false, "any", 0});
  }
  return all;
}

RunData data_of(const Kind& kind, const StudyOptions& options, uint64_t seed) {
  return kind.images ? run_images(options.data, seed) : run_vowels(seed);
}

Net trained(const Cell& cell, const RunData& data, double lr, uint64_t seed, double* loss) {
  const Net net = make_net(cell.kind->net, cell.choice, data.train, cell.per_step);
  *loss = train(net, data.train,
                {.batch_size = cell.kind->batch_size,
                 .updates = cell.kind->updates,
                 .lr = lr,
                 .clip_norm = cell.kind->clip_norm},
                seed);
  return net;
}

/// Whether a primary endpoint names the cell: it has all seeds then, and rows of each test item.
bool primary(const Cell& cell) {
  const auto names = [&](const Series& series) {
    return series.part != nullptr && cell.kind->part == std::string_view(series.part) &&
           cell.norm == series.norm && cell.cell == series.cell;
  };
  const auto& all = all_endpoints();
  return std::any_of(all.begin(), all.end(), [&](const Endpoint& e) {
    return e.experiment == std::string_view("statistics-batch") && (names(e.a) || names(e.b));
  });
}

Rows measure(const Cell& cell, const StudyOptions& options, uint64_t seed) {
  const RunData data = data_of(*cell.kind, options, seed);
  const double lr = tuned_rate("statistics-batch", cell.kind->part, cell.norm, cell.cell).lr;
  double loss = 0;
  const Net net = trained(cell, data, lr, seed, &loss);
  Rows rows;
  const auto add = [&](const char* quantity, double value, int64_t item = -1) {
    rows.push_back({cell.kind->part, cell.norm, cell.cell, static_cast<double>(cell.g), seed, item,
                    quantity, value});
  };
  const Evaluation running = net.evaluate(data.test);
  add("loss", running.loss);
  add("accuracy", running.accuracy);
  if (primary(cell))
    for (int64_t i = 0; const double item : running.losses.to_vector<double>())
      add("loss", item, i++);
  if (cell.g == 0) return rows;
  const Evaluation population = evaluate_with_population(net, data.test, data.train);
  add("loss population", population.loss);
  add("accuracy population", population.accuracy);
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Cell& cell : cells())
    for (uint64_t seed :
         seeds_of_cell(options, "statistics-batch", cell.kind->part, cell.norm, cell.cell))
      all.push_back({fmt::format("{} {} {}", cell.kind->part, cell.norm, cell.cell),
                     [=] { return measure(cell, options, seed); }});
  return all;
}

/// Runs on the vowels without groups differ much by seed, and endpoints compare them.
int64_t tuning_seeds(const Cell& cell) { return !cell.kind->images && cell.g == 0 ? 8 : 3; }

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  for (const Cell& cell : cells())
    all.push_back({cell.kind->part, cell.norm, cell.cell, 3e-3,
                   [=](double lr, uint64_t seed) {
                     const RunData data = data_of(*cell.kind, options, seed);
                     double loss = 0;
                     const Net net = trained(cell, data, lr, seed, &loss);
                     if (!std::isfinite(loss)) return loss;
                     return net.evaluate(data.validation).loss;
                   },
                   tuning_seeds(cell)});
  return all;
}

/// Log ratios of test losses to another norm's, by x and seed; 0 is the x of what has no g.
using Ratios = std::map<double, std::map<uint64_t, double>>;

Ratios log_ratios(const Rows& rows, const std::string& part, const std::string& norm,
                  const std::string& other, const std::string& quantity = "loss") {
  std::map<uint64_t, double> below;
  for (const Row& row : rows)
    if (row.part == part && row.norm == other && row.item < 0 && row.quantity == "loss")
      below[row.seed] = row.value;
  Ratios ratios;
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

/// Covers all cells of the map at once with 95 %, by Bonferroni.
double band(const Rows& rows) {
  size_t cells = 0;
  for (const Panel& p : kPanels) cells += log_ratios(rows, p.part, p.norm, "layer").size();
  return 1 - 0.05 / static_cast<double>(std::max<size_t>(1, cells));
}

/// The mean and an interval, which of one seed has no width.
struct Ratio {
  double mean, low, high;
  std::string text() const {
    return low < high ? fmt::format("{:.2f} [{:.2f}, {:.2f}]", mean, low, high)
                      : fmt::format("{:.2f}", mean);
  }
};

Ratio ratio_of(const std::map<uint64_t, double>& by_seed, double confidence) {
  std::vector<double> values;
  for (const auto& [seed, value] : by_seed) values.push_back(value);
  const Estimate e = estimate_of(values);
  const bool alone = e.degrees == 0;
  return {std::exp(e.mean), std::exp(alone ? e.mean : e.low(confidence)),
          std::exp(alone ? e.mean : e.high(confidence))};
}

/// Where BN's curve crosses LN's, in seeds that all of its cells have.
std::string crossing_text(const Ratios& ratios) {
  std::vector<double> x;
  std::map<uint64_t, std::vector<double>> of_seed;
  for (const auto& [g, values] : ratios) {
    x.push_back(std::log2(g));
    for (const auto& [seed, value] : values) of_seed[seed].push_back(value);
  }
  std::vector<std::vector<double>> d;
  for (const auto& [seed, values] : of_seed)
    if (values.size() == x.size()) d.push_back(values);
  if (d.size() < 2) return "";
  const Crossing c = crossing(x, d);
  if (!c.found) return "; does not cross 1 between cells that exclude 1 with opposite signs";
  return fmt::format("; crosses 1 at g from {:.1f} to {:.1f}", std::exp2(c.low), std::exp2(c.high));
}

/// A panel's data, $bnN and $lnN; the latter over the panel's whole width.
std::string panel_data(const Rows& rows, const Panel& panel, int number) {
  std::string text = fmt::format("$bn{} << END\n", number);
  for (const auto& [g, values] : log_ratios(rows, panel.part, panel.norm, "layer")) {
    const Ratio r = ratio_of(values, band(rows));
    text += fmt::format("{} {} {} {} \"{}, g={}: BN / LN {}\"\n", g, r.mean, r.low, r.high,
                        panel.title, g, r.text());
  }
  text += fmt::format("END\n$ln{} << END\n", number);
  for (const auto& [any, values] : log_ratios(rows, panel.part, "layer", "none"))
    for (const double x : {0.75, 85.0}) {
      const Ratio r = ratio_of(values, 0.95);
      text += fmt::format("{} {} {} {} \"{}: LN / none {}\"\n", x, r.mean, r.low, r.high,
                          panel.title, r.text());
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
                            ratio_of(values, band(rows)).text());
    }
  const std::string crossed = crossing_text(log_ratios(rows, "mlp", "batch", "layer"));
  return "BN's test loss over LN's (blue) against the samples g that share a statistic, with bars "
         "that cover all cells at once with 95 %; in orange LN's over that without a norm. "
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
               "NaN with lines lc rgb '#b0b0b0' lw 1 title 'no difference'\nunset multiplot\n",
           720, 480}};
}

/// What the cells' accuracies are with statistics of whole batches.
std::string accuracies(const Rows& rows, const Panel& panel) {
  std::string text;
  for (const auto& [name, norm, cell] : {std::tuple{"BN with whole batches", panel.norm, "full"},
                                         {"LN", "layer", "any"},
                                         {"no norm", "none", "any"}}) {
    const Estimate e = mean_over_seeds(rows, {panel.part, norm, cell, "accuracy"});
    if (std::isfinite(e.mean))
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, percent(e));
  }
  return text;
}

/// Whether running statistics that do not fit explain BN's loss at the smallest and the largest g.
std::string population_text(const Rows& rows, const Panel& panel) {
  std::string text;
  const Ratios to_layer = log_ratios(rows, panel.part, panel.norm, "layer", "loss population");
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
                        ratio_of(values, 0.95).text());
  }
  return text;
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const Panel& panel : kPanels) {
    const Ratios ratios = log_ratios(rows, panel.part, panel.norm, "layer");
    std::string text;
    for (const auto& [g, values] : ratios)
      text += fmt::format("{} g={} {}", text.empty() ? "" : ",", g,
                          ratio_of(values, band(rows)).text());
    if (text.empty()) continue;
    all.push_back(fmt::format("{}: BN's test loss over LN's (simultaneous 95 %){}{}.", panel.title,
                              text, crossing_text(ratios)));
    all.push_back(fmt::format("{}: right are {}.", panel.title, accuracies(rows, panel)));
    all.push_back(fmt::format("{}: BN's test loss with population statistics:{}.", panel.title,
                              population_text(rows, panel)));
  }
  for (const Kind& kind : kKinds)
    for (const auto& [any, values] : log_ratios(rows, kind.part, "layer", "none"))
      all.push_back(fmt::format("{}: LN's test loss over that without a norm {}.", kind.part,
                                ratio_of(values, 0.95).text()));
  for (const auto& [any, values] : log_ratios(rows, "cnn", "layer_channel", "layer"))
    all.push_back(
        fmt::format("cnn: the test loss of LN with a weight a channel over that of LN "
                    "with a weight an element {}.",
                    ratio_of(values, 0.95).text()));
  return all;
}

const ExperimentEntry entry(
    30, {.name = "statistics-batch",
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
                  "statistics. The "
                  "rates are chosen for each cell on validation data with other seeds.",
         .rule = "Primary endpoints: mlp-2, cnn-1, cnn-full, rnn-2, rnn-step-2 and transformer-2, "
                 "each the log "
                 "ratio of BN's test loss to LN's, and layer-rnn and layer-transformer, that of "
                 "LN's to no norm's, for that BN does harm does not show that LN helps (added "
                 "after a look at seeds 1 to 10); paired by seed, for new seeds and new test "
                 "items; margin 10 % "
                 "of the loss, two-sided, in the family of all primary endpoints by Holm. The "
                 "other cells are "
                 "context with half of the seeds.",
         .limits =
             "Small nets and small data sets; all seeds vary over one data set. The RNN's batch, "
             "number of updates and clipping were chosen on validation data so that BN with "
             "whole batches learns, too, after it had not in batches of 16 and 400 updates; at "
             "other budgets its cells may differ. The "
             "bands cover all cells of the map for new seeds on the same test items; a crossing's "
             "interval is that of single cells.",
         .sources = "Hoffer et al. 2017, section 4 (ghost batches); Wu & "
                    "Johnson 2021, section 3 (population statistics); Pascanu et al. 2013, section "
                    "3.2 (clipping)",
         .seconds = 38,
         .on_images = true,
         .jobs = jobs,
         .figures = figures,
         .findings = findings,
         .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
