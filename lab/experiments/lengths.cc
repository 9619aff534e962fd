// What becomes of lengths that training did not show.
#include <fmt/format.h>
#include <gradus/autograd/ops/shape.h>

#include <cmath>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kShown = 10;   // frames that training sees
constexpr int64_t kLonger = 15;  // frames of a test utterance, at least

struct Kind {
  const char* part;
  int64_t batch_size, updates;
  double clip_norm;
};
constexpr Kind kRnn{"rnn", 32, 800, 1}, kTransformer{"transformer", 32, 400, 0};

struct Cell {
  Kind kind;
  const char* norm;  // in the rows
  Norm choice;
  bool per_step = false;
};

std::vector<Cell> cells() {
  return {{kRnn, "batch", Norm::batch},         {kRnn, "batch per step", Norm::batch, true},
          {kRnn, "layer", Norm::layer},         {kRnn, "none", Norm::none},
          {kTransformer, "batch", Norm::batch}, {kTransformer, "layer", Norm::layer},
          {kTransformer, "none", Norm::none}};
}

/// The first frames of every utterance.
Dataset beginnings(const Dataset& data) {
  Dataset part = data;
  part.x = raw::contiguous(slice(data.x, 1, 0, kShown));
  Tensor lengths = raw::clone(data["lengths"]);
  for (int64_t i = 0; i < lengths.numel(); ++i) {
    int64_t& length = lengths.mutable_data<int64_t>()[i];
    length = std::min(length, kShown);
  }
  part.more = {{"lengths", lengths}};
  return part;
}

/// The utterances that are longer than what training shows.
Dataset longer(const Dataset& data) {
  std::vector<int64_t> rows;
  const auto lengths = data["lengths"].to_vector<int64_t>();
  for (size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] >= kLonger) rows.push_back(static_cast<int64_t>(i));
  const auto count = static_cast<int64_t>(rows.size());
  return data[Tensor::from(rows, {count})];
}

/// On the beginnings.
Trained trained(const Cell& cell, const RunData& data, double lr, uint64_t seed) {
  const Dataset shown = beginnings(data.train);
  const bool rnn = std::string(cell.kind.part) == "rnn";
  const Net net = make_net(cell.kind.part, cell.choice, rnn ? shown : data.train, cell.per_step);
  return {net, train(net, shown,
                     {.batch_size = cell.kind.batch_size,
                      .updates = cell.kind.updates,
                      .lr = lr,
                      .clip_norm = cell.kind.clip_norm},
                     seed)};
}

Rows measure(const Cell& cell, uint64_t seed) {
  const RunData data = run_vowels(seed);
  const Net net =
      trained(cell, data, tuned_rate("lengths", cell.kind.part, cell.norm, "first 10").lr, seed)
          .net;
  const Dataset whole = longer(data.test);
  Rows rows;
  for (const bool all : {false, true}) {
    const Dataset judged = all ? whole : beginnings(whole);
    const Evaluation found = net.evaluate(judged);
    const auto add = [&](const char* quantity, double value, int64_t item = -1) {
      rows.push_back(
          {cell.kind.part, cell.norm, all ? "whole" : "first 10", 0, seed, item, quantity, value});
    };
    add("loss", found.loss);
    add("accuracy", found.accuracy);
    for (int64_t i = 0; const double item : found.losses.to_vector<double>())
      add("loss", item, i++);
    for (int64_t i = 0; const double item : brier_scores(net, judged)) add(kBrier, item, i++);
  }
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Cell& cell : cells())
    for (uint64_t seed :
         cell.choice == Norm::none
             ? options.all_seeds()
             : seeds_of_cell(options, "lengths", cell.kind.part, cell.norm, "whole"))
      all.push_back(
          {fmt::format("{} {}", cell.kind.part, cell.norm), [=] { return measure(cell, seed); }});
  return all;
}

std::vector<Tunable> tunables(const StudyOptions&) {
  std::vector<Tunable> all;
  for (const Cell& cell : cells())
    all.push_back({cell.kind.part, cell.norm, "first 10", 3e-3, [=](double lr, uint64_t seed) {
                     const RunData data = run_vowels(seed);
                     return validation_loss(trained(cell, data, lr, seed),
                                            beginnings(data.validation));
                   }});
  return all;
}

/// "RNN, BN of each step"
std::string title_of(const Cell& cell) {
  return in_words(cell.kind.part) + ", " + in_words(cell.norm);
}

std::string accuracy_of(const Rows& rows, const Cell& cell, const char* which) {
  return percent(mean_over_seeds(rows, {cell.kind.part, cell.norm, which, "accuracy"}));
}

/// What length does to a net.
std::string losses_text(const Rows& rows, const Cell& cell) {
  const Estimate growth = mean_difference(rows, {cell.kind.part, cell.norm, "whole", "loss"},
                                          {cell.kind.part, cell.norm, "first 10", "loss"},
                                          [](double loss) { return std::log(loss); });
  return fmt::format(
      "{}: {} right on the first {} frames of long utterances, {} on the whole ones; "
      "the loss on whole ones is {} times that on the beginnings.",
      title_of(cell), accuracy_of(rows, cell, "first 10"), kShown, accuracy_of(rows, cell, "whole"),
      exponential(growth));
}

/// What length takes from `quantity`, by f, beyond what it takes with LN, by seed.
Estimate fall_against_layer(const Rows& rows, const Cell& cell, const char* quantity,
                            double (*f)(double)) {
  const auto values = [&](const char* norm, const char* which) {
    return by_seed(rows, {cell.kind.part, norm, which, quantity});
  };
  const auto whole = values(cell.norm, "whole"), first = values(cell.norm, "first 10"),
             layer_whole = values("layer", "whole"), layer_first = values("layer", "first 10");
  std::vector<double> falls;
  for (const auto& [seed, value] : whole)
    if (layer_whole.contains(seed))
      falls.push_back(f(first.at(seed)) - f(value) - f(layer_first.at(seed)) +
                      f(layer_whole.at(seed)));
  return estimate_of(falls);
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> text;
  for (const Cell& cell : cells()) {
    text.push_back(losses_text(rows, cell));
    if (cell.choice == Norm::layer) continue;
    const auto against_layer = [&](const char* which) {
      return mean_difference(rows, {cell.kind.part, cell.norm, which, "loss"},
                             {cell.kind.part, "layer", which, "loss"},
                             [](double loss) { return std::log(loss); });
    };
    const Estimate growth =
        fall_against_layer(rows, cell, "loss", [](double loss) { return -std::log(loss); });
    text.push_back(fmt::format(
        "{}: its loss over LN's is {} on the first {} frames and {} on whole utterances; "
        "length makes it grow by {} times LN's factor, and takes {} more of the accuracy than with "
        "LN "
        "(in the seeds that both have).",
        title_of(cell), exponential(against_layer("first 10")), kShown,
        exponential(against_layer("whole")), exponential(growth),
        points(fall_against_layer(rows, cell, "accuracy", [](double share) { return share; }))));
  }
  return text;
}

std::vector<Figure> figures(const Rows& rows) {
  std::string names, data[2];
  int at = 0;
  for (const Cell& cell : cells()) {
    names += fmt::format("{}\"{}\\n{}\" {}", at ? ", " : "", in_words(cell.kind.part),
                         in_words(cell.norm), at);
    for (const bool all : {false, true}) {
      const Estimate share = mean_over_seeds(
          rows, {cell.kind.part, cell.norm, all ? "whole" : "first 10", "accuracy"});
      data[all] += data_line(
          at + (all ? .12 : -.12), share, [](double value) { return 100 * value; }, percent(share));
    }
    ++at;
  }
  const std::string script = fmt::format(
      "$shown << END\n{}END\n$whole << END\n{}END\n"
      "set bmargin 3.5\nset xrange [-.5:{}]\nset xtics ({})\nset ylabel 'test accuracy (%)'\n"
      "plot $shown using 1:2:3:4 with yerrorbars lt 4 pt 7 title 'first 10 frames', "
      "$whole using 1:2:3:4 with yerrorbars lt 1 pt 5 title 'whole utterances', "
      "$shown using 1:2:5 with labels hypertext point pt 7 ps .6 lt 4 notitle, "
      "$whole using 1:2:5 with labels hypertext point pt 7 ps .6 lt 1 notitle\n",
      data[0], data[1], at - .5, names);
  std::string caption =
      "Test accuracy on long utterances of nets that were trained on the first 10 frames, of these "
      "frames and of whole utterances.";
  for (const Cell& cell : cells())
    caption += fmt::format(" {}: {}, {}.", title_of(cell), accuracy_of(rows, cell, "first 10"),
                           accuracy_of(rows, cell, "whole"));
  return {{"lengths", caption, script}};
}

const ExperimentEntry entry(
    80,
    {.name = "lengths",
     .statements = {6},
     .question = "What becomes of lengths that training did not show?",
     .setup =
         "Japanese Vowels, the published parts. Training sees the first 10 frames of every "
         "utterance; judged are the whole test utterances of 15 frames and more. The RNN has 32 "
         "units and its norm on the recurrent sum (one BN for all steps, or one for each step), "
         "batches of 32, 800 updates, gradients clipped to a norm of 1; the transformer is 32 wide "
         "with two blocks and norms before, batches of 32, 400 updates; Adam. Rates were chosen on "
         "the first 10 frames of a validation part.",
     .rule =
         "Endpoints lengths-rnn, lengths-rnn-step and lengths-transformer: by how much more BN "
         "loses than LN when the same utterances go on beyond the 10 frames, that is the logarithm "
         "of (BN's test loss on whole utterances over BN's on their first 10 frames) over (the "
         "same of LN), is above 0, by more than a tenth; two-sided, for new seeds and new "
         "utterances, Holm. Changed after a look at seeds 1 to 10: first BN's loss over LN's on "
         "whole utterances was the endpoint, but where BN is behind on the frames that training "
         "showed already, that is not length's doing; it stands beside the result, as does the "
         "same "
         "ratio of Brier scores, which a few items with large losses cannot lead (named before any "
         "was seen; no verdict rests on it). lengths-layer asks the same of LN against no norm, of "
         "the RNN.",
     .limits =
         "Steps beyond the tenth use the last step's statistics where each step has its own, and "
         "with learned positions the transformer has never trained those beyond the tenth, "
         "whatever its norm. New utterances are of the same nine speakers. A ratio of ratios says "
         "nothing of who is better: a net that is bad at 10 frames has less to lose.",
     .sources = {{"Ba et al. 2016", "section 3.1", "lengths"},
                 {"Amodei et al. 2016", "section 3.2", "statistics over all steps"},
                 {"Cooijmans et al. 2016", "section 3",
                  "statistics of each step, and beyond the last"}},
     .seconds = 7,
     .on_images = false,
     .jobs = jobs,
     .figures = figures,
     .findings = findings,
     .tunables = tunables});

}  // namespace

}  // namespace gradus::lab
