// The headline: over how many samples a statistic has to be taken. The optimizer's batch, the rates
// and the number of updates are fixed within a net; what varies is the group g of samples that
// share BatchNorm's statistics (Hoffer et al. 2017).
#include <fmt/format.h>

#include <cmath>

#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

struct Kind {
  const char* part;  // in the rows
  const char* net;   // for make_net
  int64_t batch_size;
  int64_t updates;
  bool images;
  bool population;  // whether cells are scored with population statistics, too
};
constexpr Kind kKinds[] = {
    {"cnn", "cnn", 32, 400, true, true},
    {"mlp", "mlp", 64, 400, true, true},
    {"transformer", "transformer", 16, 400, false, true},
    {"rnn", "rnn", 16, 400, false, true},
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
  *loss =
      train(net, data.train,
            {.batch_size = cell.kind->batch_size, .updates = cell.kind->updates, .lr = lr}, seed);
  return net;
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
    for (uint64_t seed : options.all_seeds())
      all.push_back({fmt::format("{} {} {}", cell.kind->part, cell.norm, cell.cell),
                     [=] { return measure(cell, options, seed); }});
  return all;
}

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  for (const Cell& cell : cells())
    all.push_back({cell.kind->part, cell.norm, cell.cell, 3e-3, [=](double lr, uint64_t seed) {
                     const RunData data = data_of(*cell.kind, options, seed);
                     double loss = 0;
                     const Net net = trained(cell, data, lr, seed, &loss);
                     if (!std::isfinite(loss)) return loss;
                     return net.evaluate(data.validation).loss;
                   }});
  return all;
}

std::vector<Figure> figures(const Rows&) { return {}; }
std::vector<std::string> findings(const Rows&) { return {}; }

const ExperimentEntry entry(30, {.name = "statistics-batch",
                                 .statements = {2, 4},
                                 .question = "Over how many samples has a statistic to be taken?",
                                 .setup = "",
                                 .rule = "",
                                 .limits = "",
                                 .sources = "Hoffer et al. 2017",
                                 .seconds = 60,
                                 .on_images = true,
                                 .jobs = jobs,
                                 .figures = figures,
                                 .findings = findings,
                                 .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
