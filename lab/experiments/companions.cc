// The same sample among others, and padded: how far its output moves.
#include <fmt/format.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>

#include <cmath>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kSteps = 40;  // what utterances of up to 29 frames are padded to
constexpr int64_t kCompanions = 15, kItems = 10, kUpdates = 40;
constexpr double kRate = 3e-3;

struct Kind {
  const char* net;
  Norm norm;
  bool per_step;
  const char* name;  // of the norm, in the rows
};
constexpr Kind kKinds[] = {
    {"rnn", Norm::layer, false, "layer"},
    {"rnn", Norm::batch, false, "batch"},
    {"rnn", Norm::batch, true, "batch per step"},
    {"transformer", Norm::layer, false, "layer"},
    {"transformer", Norm::batch, false, "batch"},
    {"mlp", Norm::layer, false, "layer"},
    {"mlp", Norm::batch, false, "batch"},
    {"cnn", Norm::layer, false, "layer"},
    {"cnn", Norm::layer_channel, false, "layer_channel"},
    {"cnn", Norm::batch, false, "batch"},
};

/// Sequences with zeros behind, up to so many steps.
Tensor padded(const Tensor& x, int64_t steps) {
  return concat({x, zeros({x.size(0), steps - x.size(1), x.size(2)})}, 1);
}
Dataset padded(Dataset data) {
  data.x = padded(data.x, kSteps);
  return data;
}

std::vector<double> first_logits(const Net& net, const Dataset& batch) {
  const NoRecord constant;
  return select(net.logits(batch), 0, 0).to_vector<double>();
}

/// One test item and those beside it, which `order` names from `first` on.
Dataset among(const Dataset& data, int64_t item, const std::vector<int64_t>& order, size_t first) {
  std::vector<int64_t> rows{item};
  for (size_t i = first; rows.size() <= kCompanions; ++i)
    if (order[i] != item) rows.push_back(order[i]);
  return data[Tensor::from(rows, {static_cast<int64_t>(rows.size())})];
}

/// How far an item's logits move, in both modes.
void measure_item(const Net& net, bool batch_norm, const Dataset& data, int64_t item, uint64_t seed,
                  const std::function<void(const std::string& cell, double value)>& add) {
  Generator generator(seed, fmt::format("companions of {}", item));
  const auto order = randperm(data.size(), generator).to_vector<int64_t>();
  const Dataset some = among(data, item, order, 0);
  const Dataset others = among(data, item, order, kCompanions + 1);
  for (const char* mode : {"training", "inference"}) {
    net.module->train(std::string(mode) == "training");
    const Net copy = net.clone();  // training changes running statistics
    const std::vector<double> logits = first_logits(copy, some);
    add(fmt::format("others {}", mode), relative_difference(first_logits(copy, others), logits));
    if (!batch_norm || !copy.module->training())  // else a statistic may have one value
      add(fmt::format("alone {}", mode),
          relative_difference(first_logits(copy, some[arange(1)]), logits));
    if (data.has("lengths"))
      add(fmt::format("padding {}", mode),
          relative_difference(first_logits(copy, padded(some)), logits));
  }
}

Rows measure_net(const Kind& kind, uint64_t seed) {
  const bool sequences = kind.net == std::string("rnn") || kind.net == std::string("transformer");
  const RunData data = sequences ? run_vowels(seed) : run_images("digits", seed);
  const Net net =
      make_net(kind.net, kind.norm, sequences ? padded(data.train) : data.train, kind.per_step);
  train(net, data.train, {.batch_size = 16, .updates = kUpdates, .lr = kRate}, seed);
  Rows rows;
  for (int64_t item = 0; item < kItems; ++item)
    measure_item(net, kind.norm == Norm::batch, data.test, item * (data.test.size() / kItems), seed,
                 [&](const std::string& cell, double value) {
                   rows.push_back({kind.net, kind.name, cell, 0, seed,
                                   item * (data.test.size() / kItems), "moved", value});
                 });
  if (kind.norm != Norm::batch)
    rows.push_back({"all", "layer", "all", 0, seed, -1, "relative difference",
                    largest(values_of(rows, {"", "", "", "moved"}))});
  return rows;
}

/// The results of a fresh norm at the places that are no padding.
std::vector<double> valid_results(NormModule& norm, const Tensor& x, const Tensor& lengths,
                                  bool masked) {
  const Tensor mask = length_mask(lengths, x.size(1));
  const Tensor y = norm(x, masked ? mask : Tensor());
  std::vector<double> all;
  const std::vector<double> results = y.to_vector<double>();
  const auto features = static_cast<size_t>(x.size(2));
  for (size_t i = 0; i < results.size(); ++i)
    if (mask.data<bool>()[i / features]) all.push_back(results[i]);
  return all;
}

/// A norm alone on a batch of utterances, padded to the longest of all and further.
Rows measure_layer(uint64_t seed) {
  const RunData data = run_vowels(seed);
  const Dataset batch = data.train[arange(kCompanions + 1)];
  const Tensor further = padded(batch.x, kSteps), &lengths = batch["lengths"];
  Rows rows;
  const auto add = [&](const char* name, NormModule&& norm) {
    for (const bool masked : {true, false})
      rows.push_back({"norm alone", name, masked ? "padding masked" : "padding unmasked", 0, seed,
                      -1, "moved",
                      relative_difference(valid_results(norm, further, lengths, masked),
                                          valid_results(norm, batch.x, lengths, masked))});
  };
  add("batch", BatchNorm(batch.x.size(2), {.channels_last = true}));
  add("layer", LayerNorm(batch.x.size(2)));
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (uint64_t seed : options.context_seeds()) {
    for (const Kind& kind : kKinds)
      all.push_back({fmt::format("{} {}", kind.net, kind.name),
                     [&kind, seed] { return measure_net(kind, seed); }});
    all.push_back({"norms alone", [seed] { return measure_layer(seed); }});
  }
  return all;
}

/// What a series moved by, for a logarithmic axis.
double height(const Rows& rows, const Kind& kind, const char* cell) {
  const auto values = values_of(rows, {kind.net, kind.name, cell, "moved"});
  return values.empty() ? 0 : largest(values);
}

std::vector<Figure> figures(const Rows& rows) {
  constexpr double kFloor = 1e-9;
  std::string blocks, plots, ticks;
  int at = 0;
  for (const Kind& kind : kKinds) {
    ticks += fmt::format("{}\"{}, {}\" {}", at ? ", " : "", in_words(kind.net), in_words(kind.name),
                         -at);
    int shape = 5;
    for (const char* cell : {"others training", "others inference", "padding training"}) {
      if (values_of(rows, {kind.net, kind.name, cell, "moved"}).empty()) continue;
      const double most = height(rows, kind, cell);
      blocks += fmt::format("$p{}_{} << END\n{} {} \"{}, {}, {}: {:.2g}\"\nEND\n", at, shape,
                            std::max(kFloor, most), -at, in_words(kind.net), in_words(kind.name),
                            cell, most);
      plots += fmt::format(
          "{}$p{}_{} using 1:2:3 with labels hypertext point pt {} ps 1.1 lt {} notitle",
          plots.empty() ? "" : ", ", at, shape, shape, kind.norm == Norm::batch ? 1 : 2);
      shape += 2;
    }
    ++at;
  }
  const std::string settings = fmt::format(
      "set logscale x\nset format x '10^{{%T}}'\nset xrange [{}:10]\nset yrange [{}:1]\n"
      "set ytics noenhanced ({})\nset xlabel 'largest move of an output, relative to the largest "
      "logit'\n"
      "unset key\n",
      kFloor / 3, -at, ticks);
  const auto both = [&](const char* net, const char* cell) {
    return median_and_range(values_of(rows, {net, "batch", cell, "moved"}));
  };
  return {
      {"companions",
       fmt::format(
           "How far one item's logits move when its companions in the batch change (squares: in "
           "training mode; circles: in inference) and when the batch is padded from 29 to 40 "
           "steps (triangles); the largest over seeds and items, points at the left edge are "
           "below 1e-9. LN moves by rounding alone, at most {:.1g}, which is a CNN's image alone "
           "in its batch (not drawn). BN in training mode moves "
           "the logits by {} of the largest in the RNN and {} in the transformer (median "
           "[range]), and not in inference.",
           largest(values_of(rows, {"all", "layer", "all", "relative difference"})),
           both("rnn", "others training"), both("transformer", "others training")),
       blocks + settings + "plot " + plots + "\n", 720, 420}};
}

/// How far the logits of one kind of net move, in each case that it has.
std::string moves_of(const Rows& rows, const Kind& kind) {
  constexpr std::pair<const char*, const char*> kCases[] = {
      {"others training", "with other companions in training"},
      {"others inference", "with other companions in inference"},
      {"alone training", "alone in training"},
      {"alone inference", "alone in inference"},
      {"padding training", "with more padding in training"},
      {"padding inference", "with more padding in inference"}};
  std::string moves, still;
  for (const auto& [cell, text] : kCases) {
    const auto values = values_of(rows, {kind.net, kind.name, cell, "moved"});
    if (values.empty()) continue;
    std::string& list = largest(values) > 0 ? moves : still;
    list += list.empty() ? "" : ", ";
    list += largest(values) > 0 ? fmt::format("{} {}", median_and_range(values), text) : text;
  }
  if (!still.empty()) moves += (moves.empty() ? "not at all " : "; not at all ") + still;
  return moves;
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all = {
      "How far an item's logits move, as a share of the largest (median [range] over seeds and "
      "items):"};
  for (const Kind& kind : kKinds)
    all.push_back(
        fmt::format("{}, {}: {}.", in_words(kind.net), in_words(kind.name), moves_of(rows, kind)));
  for (const char* norm : {"batch", "layer"})
    for (const char* cell : {"padding masked", "padding unmasked"})
      all.push_back(fmt::format(
          "One norm alone, {}, {} from 29 to 40 steps: results move by {} of the largest.",
          in_words(norm), cell,
          median_and_range(values_of(rows, {"norm alone", norm, cell, "moved"}))));
  return all;
}

const ExperimentEntry entry(
    70,
    {.name = "companions",
     .statements = {4, 6},
     .question = "Does a sample's output depend on what else is in the batch?",
     .setup =
         "An RNN (32 units) and a transformer (width 32, two blocks) on Japanese Vowels, an MLP "
         "and a residual CNN on the digits, each with LN and BN, are trained by 40 updates of Adam "
         "(batches of 16, rate 0.003). Then each of 10 test items is computed among 15 others, "
         "among 15 different ones, alone (in inference; with LN in training, too), and, with its "
         "lengths given, in the same batch padded from 29 "
         "to 40 steps, in training and in inference mode. Beside it one fresh norm alone on 16 "
         "utterances, with and without a mask, padded to 29 and to 40 steps.",
     .rule = "Endpoint independence: the largest move of a logit, relative to the item's largest "
             "logit, over nets with LN, both modes, all items and seeds, companions, none and "
             "padding; exact "
             "below 1e-5. For BN the same is described by median and range; no test.",
     .limits =
         "How far BN's outputs move depends on the batch's size (16) and on how long the nets were "
         "trained; a move of logits need not change a label. In training mode steps with one live "
         "sequence use running statistics. The nets mask padding wherever they read it; only the "
         "norm alone was left without a mask.",
     .sources = {{"Ba et al. 2016", "sections 1 and 3", "LN: no dependence between samples"},
                 {"Ioffe & Szegedy 2015", "section 3.1",
                  "BN: in training on the batch, in inference not"},
                 {"Shen et al. 2020", "section 3", "BN in transformers"},
                 {"Cooijmans et al. 2016", "section 3", "BN in recurrent nets"}},
     .seconds = 1.5,
     .on_images = false,
     .jobs = jobs,
     .figures = figures,
     .findings = findings});

}  // namespace

}  // namespace gradus::lab
