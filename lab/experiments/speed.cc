// How many steps a net needs: in the setting in which Batch Normalization was introduced, over many
// rates, and in nets that need no help.
#include <fmt/format.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/flatten.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "lab/study/figures.h"
#include "lab/study/nets.h"
#include "lab/study/verdicts.h"

namespace gradus::lab {

namespace {

constexpr int64_t kUnits = 100, kLayers = 3, kBatch = 60;
constexpr int64_t kClose = 100, kEvery = 10;  // the accuracy is looked at: see looks_at()
constexpr int64_t kMost = 600;
constexpr double kTarget = 0.9;
constexpr double kFirstRate = 0.01;  // of a grid by factors of 3
constexpr int kRates = 9;
constexpr const char* kNinth = "ninth of none's rate";  // a cell's name

/// Random shift and scale of each unit's values, anew in each step, in training (Santurkar et al.
/// 2018, appendix A, whose constants these are).
class Noise : public UnaryModule {
 public:
  explicit Noise(uint64_t seed) : generator_(seed) {}
  Tensor forward(const Tensor& x) override {
    if (!training()) return x;
    const int64_t samples = x.size(0), units = x.size(1);
    const Tensor shift = uniform({units}, -0.5, 0.5, generator_);
    const Tensor scale = uniform({units}, 1, 1.25, generator_);
    return x * (scale + 0.1 * randn({samples, units}, generator_)) +
           (shift + uniform({samples, units}, -0.1, 0.1, generator_));
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return "Noise"; }

 private:
  Generator generator_;
};

struct Kind {
  const char* part;
  bool relu;   // with He's initial weights; else sigmoids and small ones
  bool noise;  // behind each norm
};
constexpr Kind kSigmoid{"sigmoid", false, false}, kRelu{"relu", true, false},
    kNoise{"noise", false, true};

Linear linear_layer(int64_t in, int64_t out, const Init& init) {
  Linear layer(in, out, {.zero_bias = true});
  layer.weight = Parameter({out, in}, init);
  return layer;
}

Net net_for(const Kind& kind, Norm norm, const Dataset& data, uint64_t seed) {
  int64_t in = data.x.numel() / data.size();
  const auto init = [&](double gain) {
    return kind.relu ? Init::kaiming_normal(in, gain) : Init::normal(0.1);
  };
  Sequential layers{Flatten()};
  for (int64_t i = 0; i < kLayers; ++i) {
    layers.add(linear_layer(in, kUnits, init(std::sqrt(2.0))));
    in = kUnits;
    // Weights are drawn by their places, so the noise takes none of its own.
    if (kind.noise)
      layers.add(
          Sequential{feature_norm(norm, kUnits), Noise(seed * kLayers + static_cast<uint64_t>(i))});
    else
      layers.add(feature_norm(norm, kUnits));
    if (kind.relu)
      layers.add(Relu());
    else
      layers.add(Sigmoid());
  }
  layers.add(linear_layer(in, data.classes, init(1)));
  return net_of(std::move(layers));
}

/// Each of the first steps, then every tenth.
bool looks_at(int64_t step) { return step <= kClose || step % kEvery == 0; }

/// Steps of SGD until 90 % of `held_out` are labelled right; infinite if `most` are not enough.
double steps(const Kind& kind, Norm norm, const Dataset& training, const Dataset& held_out,
             double lr, int64_t most, uint64_t seed) {
  const Net net = net_for(kind, norm, training, seed);
  double reached = HUGE_VAL;
  train(net, training,
        {.batch_size = kBatch,
         .updates = most,
         .lr = lr,
         .sgd = true,
         .after_update =
             [&](int64_t update, double) {
               if (!looks_at(update) || net.evaluate(held_out).accuracy < kTarget) return true;
               reached = static_cast<double>(update);
               return false;
             }},
        seed);
  return reached;
}

/// Of a net with so many steps: the number, `most` where they were not enough, and whether they
/// were.
Rows rows_of(const Kind& kind, Norm norm, const std::string& cell, double lr, uint64_t seed,
             double count, int64_t most) {
  const bool reached = std::isfinite(count);
  const auto row = [&](const char* quantity, double value) {
    return Row{kind.part, name(norm), cell, lr, seed, -1, quantity, value};
  };
  return {row("steps", reached ? count : static_cast<double>(most)), row("reached", reached)};
}

double grid_rate(int k) { return kFirstRate * std::pow(3.0, k); }
double best_rate(const Kind& kind, Norm norm) {
  return tuned_rate("speed", kind.part, name(norm), "best").lr;
}

/// One net at one rate.
Rows run_at(const Kind& kind, Norm norm, const std::string& cell, double lr, int64_t most,
            const StudyOptions& options, uint64_t seed) {
  const RunData data = run_images(options.data, seed);
  return rows_of(kind, norm, cell, lr, seed,
                 steps(kind, norm, data.train, data.test, lr, most, seed), most);
}

/// All rates of the grid, and how many of them reach the target.
Rows run_grid(const Kind& kind, Norm norm, const StudyOptions& options, uint64_t seed) {
  Rows rows;
  double reaching = 0;
  for (int k = 0; k < kRates; ++k) {
    const Rows at =
        run_at(kind, norm, fmt::format("rate {}", k), grid_rate(k), kMost, options, seed);
    reaching += at[1].value;
    rows.insert(rows.end(), at.begin(), at.end());
  }
  rows.push_back({kind.part, name(norm), "all", 0, seed, -1, "rates", reaching});
  return rows;
}

constexpr Norm kNorms[] = {Norm::batch, Norm::layer, Norm::none};

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  const auto add = [&](const Kind& kind, Norm norm, const char* cell, double lr, uint64_t seed) {
    all.push_back({fmt::format("{} {} {}", kind.part, name(norm), cell),
                   [=, &kind] { return run_at(kind, norm, cell, lr, 2 * kMost, options, seed); }});
  };
  // Those of the endpoints, for what stands beside them, too.
  const auto seeds_of = [&](const char* cell) {
    return seeds_of_cell(options, "speed", "sigmoid", "batch", cell);
  };
  for (Norm norm : kNorms) {
    for (uint64_t seed : norm == Norm::layer ? options.context_seeds() : seeds_of("all"))
      all.push_back({fmt::format("rates {}", name(norm)),
                     [=] { return run_grid(kSigmoid, norm, options, seed); }});
    for (uint64_t seed : seeds_of("best")) {
      add(kSigmoid, norm, "best", best_rate(kSigmoid, norm), seed);
      add(kRelu, norm, "best", best_rate(kRelu, norm), seed);
    }
    for (uint64_t seed : seeds_of(kNinth))
      for (const Kind* kind : {&kSigmoid, &kRelu}) {
        const double lr = best_rate(*kind, Norm::none);
        if (norm != Norm::none) add(*kind, norm, "none's rate", lr, seed);
        add(*kind, norm, kNinth, lr / 9, seed);
      }
  }
  for (uint64_t seed : seeds_of("best"))
    add(kNoise, Norm::batch, "best", best_rate(kNoise, Norm::batch), seed);
  return all;
}

/// Where nothing reaches the target all norms would count as equal.
std::string misfit(const StudyOptions& options) {
  const RunData data = run_images(options.data, options.first_seed);
  const double lr = best_rate(kSigmoid, Norm::batch);
  const double count =
      steps(kSigmoid, Norm::batch, data.train, data.test, lr, 2 * kMost, options.first_seed);
  return std::isfinite(count) ? ""
                              : fmt::format(
                                    "BN at its best rate does not label {:.0f} % of the "
                                    "images of {} rightly within {} steps",
                                    100 * kTarget, options.data, 2 * kMost);
}

std::vector<Tunable> tunables(const StudyOptions& options) {
  std::vector<Tunable> all;
  const auto add = [&](const Kind& kind, Norm norm, double first) {
    all.push_back({kind.part, name(norm), "best", first, [=, &kind](double lr, uint64_t seed) {
                     const RunData data = run_images(options.data, seed);
                     const double count =
                         steps(kind, norm, data.train, data.validation, lr, kMost, seed);
                     return count;
                   }});
  };
  for (Norm norm : kNorms) {
    add(kSigmoid, norm, grid_rate(4));
    add(kRelu, norm, grid_rate(3));
  }
  add(kNoise, Norm::batch, grid_rate(4));
  return all;
}

double logarithm(double value) { return std::log(value); }

Estimate log_steps(const Rows& rows, const char* part, const char* norm, const char* cell) {
  return mean_over_seeds(rows, {part, norm, cell, "steps"}, logarithm);
}
std::string steps_text(const Rows& rows, const char* part, const char* norm, const char* cell) {
  return exponential(log_steps(rows, part, norm, cell));
}
/// In how many of the seeds: "3 of 10".
std::string reached_text(const Rows& rows, const char* part, const char* norm, const char* cell) {
  const auto seeds = by_seed(rows, {part, norm, cell, "reached"});
  double sum = 0;
  for (const auto& [seed, reached] : seeds) sum += reached;
  return fmt::format("{:.0f} of {}", sum, seeds.size());
}
/// Steps of a over steps of b.
std::string ratio_text(const Rows& rows, const Series& a, const Series& b) {
  return exponential(mean_difference(rows, a, b, logarithm));
}

constexpr int color_of(Norm norm) { return norm == Norm::batch ? 1 : norm == Norm::layer ? 2 : 3; }

double exponential_of(double value) { return std::exp(value); }

Figure rates_figure(const Rows& rows) {
  std::string data, plots;
  for (Norm norm : kNorms) {
    data += fmt::format("${} << END\n", name(norm));
    for (int k = 0; k < kRates; ++k) {
      const std::string cell = fmt::format("rate {}", k);
      const Estimate e = log_steps(rows, "sigmoid", name(norm), cell.c_str());
      data += data_line(
          grid_rate(k), e, exponential_of,
          fmt::format("{}, rate {:.2g}: {} steps, reached in {}", name(norm), grid_rate(k),
                      exponential(e), reached_text(rows, "sigmoid", name(norm), cell.c_str())));
    }
    data += "END\n";
    plots += fmt::format(
        "${0} using 1:2:3:4 with yerrorlines lc {1} pt 7 ps .6 title '{2}', "
        "'' using 1:2:5 with labels hypertext point lc {1} pt 7 ps .6 notitle, ",
        name(norm), color_of(norm),
        norm == Norm::batch   ? "BN"
        : norm == Norm::layer ? "LN"
                              : "no norm");
  }
  const auto count = [&](const char* norm) {
    const Estimate e = mean_over_seeds(rows, {"sigmoid", norm, "all", "rates"});
    return fmt::format("{:.1f}", e.mean);
  };
  return {"speed-rates",
          fmt::format("Steps to 90 % over the learning rate, in the sigmoid net. Of {} rates BN "
                      "reaches 90 % at {} on average, LN at {}, no norm at {}. {} steps: not "
                      "reached.",
                      kRates, count("batch"), count("layer"), count("none"), kMost),
          fmt::format("{}set logscale xy\nset xlabel 'learning rate'\nset ylabel 'steps to 90 %'\n"
                      "set yrange [5:{}]\nset key right bottom\n"
                      "plot {} {} with lines dt 2 lc rgb '#888888' title 'not reached'\n",
                      data, 1.3 * kMost, plots, kMost)};
}

Figure nets_figure(const Rows& rows) {
  struct Place {
    const char *part, *cell, *label;
  };
  const Place places[] = {
      {"sigmoid", "best", "sigmoid,\\nbest rate"},
      {"relu", "best", "relu,\\nbest rate"},
      {"sigmoid", kNinth, "sigmoid, 1/9 of\\nnone's rate"},
      {"relu", kNinth, "relu, 1/9 of\\nnone's rate"},
      {"noise", "best", "sigmoid, noise\\nafter BN"},
  };
  std::string data, plots, ticks;
  for (int p = 0; const Place& place : places)
    ticks += fmt::format("{}\"{}\" {}", p ? ", " : "", place.label, p), ++p;
  for (int k = 0; Norm norm : kNorms) {
    data += fmt::format("${} << END\n", name(norm));
    for (int p = 0; const Place& place : places) {
      const Estimate e = log_steps(rows, place.part, name(norm), place.cell);
      if (std::isfinite(e.mean))
        data += data_line(p + 0.15 * (k - 1), e, exponential_of,
                          fmt::format("{}: {} steps, reached in {}", name(norm), exponential(e),
                                      reached_text(rows, place.part, name(norm), place.cell)));
      ++p;
    }
    data += "END\n";
    plots += fmt::format(
        "{0}${1} using 1:2:3:4 with yerrorbars lc {2} pt 7 title '{3}', "
        "'' using 1:2:5 with labels hypertext point lc {2} pt 7 ps .6 notitle",
        k ? ", " : "", name(norm), color_of(norm),
        norm == Norm::batch   ? "BN"
        : norm == Norm::layer ? "LN"
                              : "no norm");
    ++k;
  }
  return {
      "speed-nets",
      fmt::format(
          "Steps to 90 % in several settings. Sigmoid net at each one's best rate: BN "
          "{}, LN {}, no norm {}. Well initialized relu net: {}, {}, {}. At a ninth of the rate "
          "that is best without a norm the sigmoid net takes {}, {}, {}, the relu net {}, {}, {}.",
          steps_text(rows, "sigmoid", "batch", "best"),
          steps_text(rows, "sigmoid", "layer", "best"), steps_text(rows, "sigmoid", "none", "best"),
          steps_text(rows, "relu", "batch", "best"), steps_text(rows, "relu", "layer", "best"),
          steps_text(rows, "relu", "none", "best"), steps_text(rows, "sigmoid", "batch", kNinth),
          steps_text(rows, "sigmoid", "layer", kNinth), steps_text(rows, "sigmoid", "none", kNinth),
          steps_text(rows, "relu", "batch", kNinth), steps_text(rows, "relu", "layer", kNinth),
          steps_text(rows, "relu", "none", kNinth)),
      fmt::format(
          "{}set logscale y\nset ylabel 'steps to 90 %'\nset xrange [-.5:4.5]\n"
          "set xtics ({})\nset bmargin 3.5\nset key tmargin center horizontal samplen 3\nplot {}\n",
          data, ticks, plots)};
}

std::vector<Figure> figures(const Rows& rows) { return {rates_figure(rows), nets_figure(rows)}; }

/// Which rates of the grid reach the target in every seed: "0.09 to 7.3".
std::string sure_rates(const Rows& rows, const char* norm) {
  double low = HUGE_VAL, high = 0;
  for (int k = 0; k < kRates; ++k) {
    const auto seeds =
        by_seed(rows, {"sigmoid", norm, fmt::format("rate {}", k).c_str(), "reached"});
    const bool all = std::all_of(seeds.begin(), seeds.end(), [](auto& s) { return s.second > 0; });
    if (seeds.empty() || !all) continue;
    low = std::min(low, grid_rate(k));
    high = std::max(high, grid_rate(k));
  }
  return high > 0 ? fmt::format("{:.2g} to {:.2g}", low, high) : "none";
}

std::vector<std::string> findings(const Rows& rows) {
  const auto ratio = [&](const char* part, const char* norm, const char* other, const char* cell) {
    return ratio_text(rows, {part, norm, cell, "steps"}, {part, other, cell, "steps"});
  };
  const auto at = [&](const char* part, const char* norm, const char* cell) {
    return fmt::format("{} steps (reached in {})", steps_text(rows, part, norm, cell),
                       reached_text(rows, part, norm, cell));
  };
  const auto rate = [](const Kind& kind, Norm norm) {
    return fmt::format("{:.2g}", best_rate(kind, norm));
  };
  const auto ninth_text = [&](const char* part) {
    const auto lead = [&](const char* cell) {
      return mean_difference(rows, {part, "batch", cell, "steps"}, {part, "none", cell, "steps"},
                             logarithm);
    };
    return fmt::format(
        "The {} net at a ninth of the rate that is best without a norm: BN takes {} times the "
        "steps of no norm ({} against {}), at each one's best rate {} times: its lead {}.",
        part, exponential(lead(kNinth)), at(part, "batch", kNinth), at(part, "none", kNinth),
        exponential(lead("best")),
        lead(kNinth).mean > lead("best").mean
            ? "shrinks there, as it would if larger rates explained it"
            : "is there as large or larger; if larger rates explained it, it would shrink");
  };
  return {
      fmt::format("Sigmoid net, each at its best rate (BN {}, LN {}, none {}): BN {}, LN {}, no "
                  "norm {}. LN takes {} times the steps of no norm, BN {} times those of LN.",
                  rate(kSigmoid, Norm::batch), rate(kSigmoid, Norm::layer),
                  rate(kSigmoid, Norm::none), at("sigmoid", "batch", "best"),
                  at("sigmoid", "layer", "best"), at("sigmoid", "none", "best"),
                  ratio("sigmoid", "layer", "none", "best"),
                  ratio("sigmoid", "batch", "layer", "best")),
      fmt::format("Rates that reach 90 % within {} steps in every seed: BN {}, LN {}, no norm {}.",
                  kMost, sure_rates(rows, "batch"), sure_rates(rows, "layer"),
                  sure_rates(rows, "none")),
      fmt::format("Well initialized (relu), each at its best rate (BN {}, LN {}, none {}): BN {}, "
                  "LN {}, no norm {}; BN takes {} times the steps of no norm.",
                  rate(kRelu, Norm::batch), rate(kRelu, Norm::layer), rate(kRelu, Norm::none),
                  at("relu", "batch", "best"), at("relu", "layer", "best"),
                  at("relu", "none", "best"), ratio("relu", "batch", "none", "best")),
      fmt::format("At the rate that is best without a norm BN takes {} in the sigmoid net, {} in "
                  "the relu net.",
                  at("sigmoid", "batch", "none's rate"), at("relu", "batch", "none's rate")),
      ninth_text("sigmoid"),
      ninth_text("relu"),
      fmt::format("With noise after each BN, tuned by itself: {}; {} times the steps of BN without "
                  "it, and {} times those of no norm.",
                  at("noise", "batch", "best"),
                  ratio_text(rows, {"noise", "batch", "best", "steps"},
                             {"sigmoid", "batch", "best", "steps"}),
                  ratio_text(rows, {"noise", "batch", "best", "steps"},
                             {"sigmoid", "none", "best", "steps"})),
  };
}

const ExperimentEntry entry(
    50,
    {.name = "speed",
     .statements = {5},
     .question = "How many steps does a net need, with a norm and without?",
     .setup =
         "Fully connected nets with three hidden layers of 100 units on the digits, plain SGD "
         "without momentum, batches of 60. As in the paper that introduced BN the units are "
         "sigmoids and the first weights small (normal, deviation 0.1, biases 0); the norm stands "
         "before the sigmoid. After each of the first 100 steps, then after every tenth, the "
         "accuracy "
         "on held-out images is looked at (BN by its running statistics), and the first step with "
         "90 % counts. Each net has the rate "
         "that needed the fewest steps on validation data with other seeds. The range: nine rates "
         "from 0.01 by factors of 3, 600 steps at most. Beside it the same nets with relu and "
         "He's initial weights; all nets at the rate that is best without a norm, and at a ninth "
         "of it; BN with noise after it that changes each unit's mean and scale in each step. "
         "There at most 1,200 steps are made, and what is not reached counts as so many.",
     .rule =
         "Hypotheses: BN needs fewer steps to 90 % than no norm, each at its best rate (endpoint "
         "speed: log ratio of steps, paired by seed, margin 10 %); and BN reaches 90 % at more of "
         "the nine rates (endpoint rates: paired difference of the numbers, margin 1). Both: "
         "two-sided t over the seeds, Holm. All else is described, not tested: if BN's gain came "
         "through larger rates (Bjorck et al. 2018), it should shrink at equal small ones; if it "
         "came from steady distributions, noise after BN should undo it (Santurkar et al. 2018).",
     .limits =
         "A shallow net on an easy data set; steps, not seconds, and a step with a norm costs "
         "more. One batch size, SGD without momentum, a constant rate. Not reached counts as the "
         "most steps made, which makes differences smaller than they are; a range that touches the "
         "grid's end may be longer. With adaptive optimizers the range of rates is another. The "
         "first step with 90 % may be a lucky one.",
     .sources = {{"Ioffe & Szegedy 2015", "section 4.1", "sigmoid net, batches of 60"},
                 {"Bjorck et al. 2018", "sections 2 and 3", "larger rates"},
                 {"Santurkar et al. 2018", "section 2.1", "noise after BN"},
                 {"He et al. 2015", "section 2.2", "initial weights"}},
     .seconds = 9,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables,
     .misfit = misfit});

}  // namespace

}  // namespace gradus::lab
