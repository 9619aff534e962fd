// One batch's gradient from micro-batches, as where memory is short: with LayerNorm nothing
// changes, with BatchNorm each micro-batch has statistics of its own.
#include <fmt/format.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/tape.h>

#include <cmath>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kBatch = 64, kEpochs = 3;
constexpr double kRate = 3e-3;

struct Kind {
  const char* net;
  Norm norm;
};
constexpr Kind kKinds[] = {
    {"mlp", Norm::none},  {"mlp", Norm::batch}, {"mlp", Norm::layer},         {"cnn", Norm::none},
    {"cnn", Norm::batch}, {"cnn", Norm::layer}, {"cnn", Norm::layer_channel},
};

using Gradient = std::vector<double>;

/// The gradient of the batch's mean loss, all parameters in one row.
Gradient gradient_of(const Net& net, const Dataset& batch) {
  const std::vector<Tensor> parameters = net.module->parameters();
  Tape tape;
  const Tensor loss = cross_entropy(net.logits(batch), batch.y);
  Gradient all;
  for (const Tensor& gradient : tape.gradient(loss, parameters))
    for (const double value : gradient.to_vector<double>()) all.push_back(value);
  return all;
}

/// The mean of the gradients of micro-batches of m.
Gradient accumulated(const Net& net, const Dataset& batch, int64_t m) {
  Gradient mean;
  const double parts = static_cast<double>(kBatch / m);
  for (int64_t first = 0; first < kBatch; first += m) {
    std::vector<int64_t> rows;
    for (int64_t i = first; i < first + m; ++i) rows.push_back(i);
    const Gradient part = gradient_of(net, batch[Tensor::from(rows, {m})]);
    mean.resize(part.size());
    for (size_t i = 0; i < part.size(); ++i) mean[i] += part[i] / parts;
  }
  return mean;
}

double dot(const Gradient& a, const Gradient& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double norm_of(const Gradient& a) { return std::sqrt(dot(a, a)); }

double relative_difference(Gradient a, const Gradient& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm_of(a) / norm_of(b);
}

/// Whether a micro-batch gives a statistic one value alone, which is an error.
bool is_error(const Kind& kind, int64_t m) {
  return kind.norm == Norm::batch && std::string(kind.net) == "mlp" && m == 1;
}

Rows measure(const Kind& kind, const StudyOptions& options, uint64_t seed) {
  const RunData data = run_images(options.data, seed);
  const Net net = make_net(kind.net, kind.norm, data.train);
  train(net, data.train,
        {.batch_size = kBatch, .updates = kEpochs * (data.train.size() / kBatch), .lr = kRate},
        seed);
  const Dataset batch = data.train[arange(kBatch)];
  const Gradient whole = gradient_of(net, batch);
  Rows rows;
  const auto add = [&](const std::string& cell, int64_t x, const char* quantity, double value) {
    rows.push_back(
        {kind.net, name(kind.norm), cell, static_cast<double>(x), seed, -1, quantity, value});
  };
  double most = 0;
  for (int64_t m = kBatch / 2; m > 0; m /= 2) {
    if (is_error(kind, m)) continue;
    const Gradient parts = accumulated(net, batch, m);
    const double difference = relative_difference(parts, whole);
    most = std::max(most, difference);
    const std::string cell = fmt::format("m={}", m);
    add(cell, m, "cosine", dot(parts, whole) / (norm_of(parts) * norm_of(whole)));
    add(cell, m, "norm ratio", norm_of(parts) / norm_of(whole));
    add(cell, m, "relative difference", difference);
  }
  add("all", 0, "relative difference", most);
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const Kind& kind : kKinds)
    for (uint64_t seed : options.context_seeds())
      all.push_back({fmt::format("{} {}", kind.net, name(kind.norm)),
                     [&kind, options, seed] { return measure(kind, options, seed); }});
  return all;
}

std::vector<Figure> figures(const Rows& rows) {
  std::vector<Curve> curves;
  for (const char* net : {"mlp", "cnn"}) {
    const bool mlp = std::string(net) == "mlp";
    curves.push_back({fmt::format("BN, {}", mlp ? "MLP" : "CNN"), 1,
                      medians(rows, {net, "batch", "", "cosine"}), !mlp});
    curves.push_back({fmt::format("LN, {}", mlp ? "MLP" : "CNN"), 2,
                      medians(rows, {net, "layer", "", "cosine"}), !mlp});
  }
  const auto cosine = [&](const char* net, const char* cell) {
    return median_and_range(values_of(rows, {net, "batch", cell, "cosine"}));
  };
  const std::string settings =
      "set logscale x 2\nset xlabel 'samples of a micro-batch'\n"
      "set ylabel 'cosine with the gradient of all 64'\nset yrange [-0.1:1.05]\n"
      "set key bottom right\n";
  return {
      {"microbatch",
       fmt::format(
           "How far the gradient of 64 digits, put together from micro-batches, points where "
           "the gradient of all 64 at once does (cosine, medians over seeds). LN: 1 at every "
           "size. BN in the MLP: {} at 32 samples, {} at 8, {} at 2; in the CNN {} at 2 "
           "(median [range]).",
           cosine("mlp", "m=32"), cosine("mlp", "m=8"), cosine("mlp", "m=2"), cosine("cnn", "m=2")),
       plot_of(settings, curves)}};
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const char* net : {"mlp", "cnn"}) {
    for (const char* norm : {"none", "layer", "layer_channel"}) {
      const auto values = values_of(rows, {net, norm, "all", "relative difference"});
      if (!values.empty())
        all.push_back(fmt::format(
            "{}, {}: micro-batches of any size give the batch's gradient to {:.1g} (largest "
            "relative difference).",
            in_words(net), in_words(norm), largest(values)));
    }
    for (const char* cell : {"m=32", "m=8", "m=4", "m=2", "m=1"}) {
      const auto cosines = values_of(rows, {net, "batch", cell, "cosine"});
      if (cosines.empty())
        all.push_back(fmt::format("{}, BN, {}: no gradient; a statistic of one value is an error.",
                                  in_words(net), cell));
      else
        all.push_back(fmt::format(
            "{}, BN, {}: cosine {}, ratio of the norms {} (median [range] of {} seeds).",
            in_words(net), cell, median_and_range(cosines),
            median_and_range(values_of(rows, {net, "batch", cell, "norm ratio"})), cosines.size()));
    }
  }
  return all;
}

const ExperimentEntry entry(
    20,
    {.name = "microbatch",
     .statements = {2},
     .question = "Is a batch's gradient that of its micro-batches together?",
     .setup =
         "An MLP (three layers of 64, relu) and a residual CNN (8 and 16 channels) with BN, LN, "
         "LN with a weight a channel (CNN) and no norm are trained for 3 epochs in batches of 64 "
         "by Adam at a rate of 0.003. Then the gradient of the mean loss of 64 training images, in "
         "training mode, is compared with the mean of the gradients of its micro-batches of 32, "
         "16, ..., 1, the weights staying as they are.",
     .rule =
         "Endpoint microbatch-layer: the largest relative difference |g_m - g| / |g| over all m "
         "and seeds in the MLP with LN; exact below 1e-5. For BN cosine and ratio of norms are "
         "described by median and range over seeds, since the ratio is heavy-tailed; no test.",
     .limits =
         "One rate, one state early in training, five seeds. That the gradients differ does not "
         "say that training with BN on micro-batches fails: see statistics-batch. BN of micro-"
         "batches also leaves other running statistics, which is not measured here.",
     .sources = {{"Ioffe & Szegedy 2015", "algorithm 1", "statistics of the whole batch"},
                 {"Hoffer et al. 2017", "section 4", "ghost batches"},
                 {"Wu & Johnson 2021", "section 4",
                  "the statistics' batch apart from the optimizer's"}},
     .seconds = 1.2,
     .on_images = true,
     .jobs = jobs,
     .figures = figures,
     .findings = findings});

}  // namespace

}  // namespace gradus::lab
