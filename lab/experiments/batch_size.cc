// Beside the headline map, whose optimizer's batch is fixed: the batch itself, at equal numbers of
// updates, and with twice as many.
#include <fmt/format.h>

#include <cmath>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

struct Swept {
  const char *net, *title;
  std::vector<int64_t> sizes;  // of batches
};
const std::vector<Swept>& all_swept() {
  static const std::vector<Swept> all = {{"cnn", "CNN", {2, 8}},
                                         {"mlp", "MLP", {2, 8, 64}},
                                         {"transformer", "transformer", {2}},
                                         {"rnn", "RNN", {2}}};
  return all;
}

constexpr int64_t kBudgets[] = {1, 2};  // times the map's updates

/// Covers all cells at once with 95 %, by Bonferroni.
double band() {
  size_t cells = 0;
  for (const Swept& swept : all_swept()) cells += swept.sizes.size() * std::size(kBudgets);
  return simultaneous(cells);
}

struct Cell {
  std::string net, norm;
  int64_t batch_size, budget;
  std::string name() const { return fmt::format("B={} updates x{}", batch_size, budget); }
};

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (const Swept& swept : all_swept())
    for (const char* norm : {"batch", "layer"})
      for (const int64_t size : swept.sizes)
        for (const int64_t budget : kBudgets) all.push_back({swept.net, norm, size, budget});
  return all;
}

Trained trained(const Cell& cell, const RunData& data, double lr, uint64_t seed) {
  const Net net = make_net(cell.net, norm_from(cell.norm), data.train);
  TrainOptions options = usual_training(cell.net);
  options.batch_size = cell.batch_size;
  options.updates *= cell.budget;
  options.lr = lr;
  return {net, train(net, data.train, options, seed)};
}

Rows measure(const Cell& cell, const StudyOptions& options, uint64_t seed) {
  const RunData data = data_for(cell.net, options, seed);
  const double lr = tuned_rate("batch-size", cell.net, cell.norm, cell.name()).lr;
  const Evaluation found = trained(cell, data, lr, seed).net.evaluate(data.test);
  const auto row = [&](const char* quantity, double value) {
    return Row{cell.net, cell.norm, cell.name(), static_cast<double>(cell.batch_size),
               seed,     -1,        quantity,    value};
  };
  return {row("loss", found.loss), row("accuracy", found.accuracy)};
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Cell& cell : cells())
    for (const uint64_t seed : options.context_seeds())
      all.push_back({fmt::format("{} {} {}", cell.net, cell.norm, cell.name()),
                     [=] { return measure(cell, options, seed); }});
  return all;
}

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  for (const Cell& cell : cells())
    all.push_back({cell.net, cell.norm, cell.name(), 3e-3, [=](double lr, uint64_t seed) {
                     const RunData data = data_for(cell.net, options, seed);
                     return validation_loss(trained(cell, data, lr, seed), data.validation);
                   }});
  return all;
}

/// The logarithm of BN's test loss over LN's by the batch.
LogRatios log_ratios(const Rows& rows, const Swept& swept, int64_t budget) {
  LogRatios ratios;
  for (const int64_t size : swept.sizes) {
    const std::string cell = Cell{"", "", size, budget}.name();
    const auto layer = by_seed(rows, {swept.net, "layer", cell.c_str(), "loss"});
    for (const auto& [seed, loss] : by_seed(rows, {swept.net, "batch", cell.c_str(), "loss"}))
      if (layer.contains(seed))
        ratios[static_cast<double>(size)][seed] = std::log(loss / layer.at(seed));
  }
  return ratios;
}

/// "MLP, 400 updates: BN / LN B=2 11 [9, 13], ...; crosses 1 at B from 5 to 8".
std::string ratios_text(const Rows& rows, const Swept& swept, int64_t budget) {
  const LogRatios ratios = log_ratios(rows, swept, budget);
  std::string text;
  for (const auto& [size, values] : ratios)
    text += fmt::format("{} B={} {}", text.empty() ? "" : ",", size, exponential(mean_of(values)));
  if (text.empty()) return text;
  return fmt::format("{}, {} updates: BN's test loss over LN's{}{}.", swept.title,
                     usual_training(swept.net).updates * budget, text,
                     crossing_text(ratios, "B", band()));
}

/// By what factor twice the updates change BN / LN, and where that is beyond chance in its cell.
std::string doubling_text(const Rows& rows, const Swept& swept) {
  const LogRatios once = log_ratios(rows, swept, 1);
  std::string text, changed;
  for (const auto& [size, values] : log_ratios(rows, swept, 2)) {
    std::map<uint64_t, double> change;
    for (const auto& [seed, value] : values)
      if (const auto at = once.find(size); at != once.end() && at->second.contains(seed))
        change[seed] = value - at->second.at(seed);
    const Estimate factor = mean_of(change);
    if (!std::isfinite(factor.mean)) continue;
    text += fmt::format("{} B={} {}", text.empty() ? "" : ",", size, exponential(factor));
    if (factor.degrees > 0 && (factor.low() > 0 || factor.high() < 0))
      changed += fmt::format("{} B={}", changed.empty() ? "" : ",", size);
  }
  if (text.empty()) return text;
  return fmt::format("{}: twice the updates multiply BN's test loss over LN's by{}{}.", swept.title,
                     text, changed.empty() ? "" : "; by itself that at" + changed + " excludes 1");
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) all.push_back(text);
  };
  for (const Swept& swept : all_swept()) {
    for (const int64_t budget : kBudgets) add(ratios_text(rows, swept, budget));
    add(doubling_text(rows, swept));
  }
  return all;
}

/// A net's panel: a block of data for each budget, and the commands that plot them.
std::string panel(const Rows& rows, const Swept& swept, bool first) {
  std::string blocks, plots;
  for (const int64_t budget : kBudgets) {
    const std::string name = fmt::format("${}x{}", swept.net, budget);
    blocks += name + " << END\n";
    for (const auto& [size, values] : log_ratios(rows, swept, budget)) {
      const Estimate ratio = mean_of(values);
      blocks += data_line(size * (budget == 1 ? .96 : 1.04), ratio, std::exp,
                          fmt::format("{}, B={}, updates x{}: BN / LN {}", swept.title, size,
                                      budget, exponential(ratio)));
    }
    blocks += "END\n";
    plots += fmt::format(
        ", {0} using 1:2:3:4 with yerrorbars lt {1} pt 7 ps .3 notitle, "
        "{0} using 1:2 with lines lt {1} {2}, "
        "{0} using 1:2:5 with labels hypertext point pt 7 ps .6 lt {1} notitle",
        name, budget == 1 ? 1 : 4, first ? fmt::format("title 'updates x{}'", budget) : "notitle");
  }
  return fmt::format("{}set title '{}'\n{}plot 1 with lines lc rgb '#b0b0b0' lw 1 notitle{}\n",
                     blocks, swept.title,
                     first ? "set ylabel 'BN / LN'\n" : "unset ylabel\nset format y ''\n", plots);
}

std::vector<Figure> figures(const Rows& rows) {
  std::string panels;
  for (const Swept& swept : all_swept()) panels += panel(rows, swept, panels.empty());
  const std::string script =
      "set multiplot layout 1,4 margins .1,.99,.22,.88 spacing .025\nset logscale x 2\n"
      "set logscale y\nset xrange [1.5:85]\nset yrange [.25:16]\nset xtics (2, 4, 8, 64)\n"
      "set ytics (.25, .5, 1, 2, 4, 8, 16)\nset tics font ',12'\nset xlabel 'batch, B'\n"
      "set key inside top right samplen 1.5 font ',12'\n" +
      panels + "unset multiplot\n";
  const std::string caption =
      "BN's test loss over LN's against the samples B of the optimizer's batch, which are those a "
      "statistic, at the map's number of updates (blue) and at twice as many (green); bars are 95 "
      "% intervals over seeds. Above 1 BN is worse. The numbers stand below.";
  return {{"batch-size", caption, script, 720, 340}};
}

const ExperimentEntry entry(
    35,
    {.name = "batch-size",
     .statements = {2, 4},
     .question = "And if the batch itself gets smaller, and training longer?",
     .setup =
         "The nets and data of statistics-batch with BN (whole batches; the RNN has one BN for all "
         "steps) and LN. What differs is the optimizer's batch, of B samples: 2 and 8 for the CNN, "
         "2, 8 and 64 for the MLP, 2 alone for the transformer and the RNN, whose larger "
         "batches take too long here. The number of updates is the same for all B, once that of "
         "the map (400, for the RNN 800), once twice as many. The rate of each of these cells was "
         "chosen for itself on validation data with other seeds.",
     .rule =
         "Context, no endpoint: no verdict rests on it. Decided beforehand: the log ratio of BN's "
         "test loss to LN's, paired by seed, with half of the seeds, for each batch and budget; "
         "whether the curve crosses 1 at the same place after twice the updates, and by what "
         "factor they change the ratio. Not epochs but updates are equal: in equal epochs small "
         "batches would make more updates.",
     .limits =
         "Equal updates show a net of small batches fewer samples, whatever its norm, so cells of "
         "different B compare norms, not batches. With a smaller batch the gradient is noisier as "
         "well as the statistics; the map, where only the statistics' group differs, tells the two "
         "apart. Intervals are of few seeds, over the same test items, each cell for itself. "
         "Without a norm nothing was trained here; see the map.",
     .sources = {{"Wu & He 2018", "section 4.1", "the batch itself"},
                 {"Hoffer et al. 2017", "section 5", "updates, not epochs"}},
     .seconds = 5.5,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
