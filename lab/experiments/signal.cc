// What theory says of signals and gradients at initialization, and of scale invariance.
#include <fmt/format.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/models/transformer.h>

#include <cmath>
#include <map>

#include "lab/study/figures.h"
#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

constexpr int64_t kWidth = 256;
constexpr double kMargin = 0.02;  // at most: see against_theory()

double squared(const Tensor& x) { return sum(square(x)).item(); }

/// x^ without an affine part, or x itself.
Tensor normalized(const Tensor& x, Norm norm, double eps = 1e-5) {
  if (norm == Norm::batch) return batch_norm(x, {}, {}, {.eps = eps}).y;
  if (norm == Norm::layer) return layer_norm(x, {x.size(1)}, {}, {}, {.eps = eps});
  return x;
}

/// W with variance gain^2 / inputs.
Tensor weights(int64_t out, int64_t in, double gain, Generator& generator) {
  return randn({out, in}, generator) * (gain / std::sqrt(static_cast<double>(in)));
}
/// Keeps the mean square of what a relu, or nothing, was applied to.
double gain_of(bool with_relu) { return with_relu ? std::sqrt(2.0) : 1; }

/// The factor by which the squared gradient with respect to a layer's result grows from each layer
/// to the one before it, from the slope of its logarithm over the layers.
double gradient_growth(Norm norm, bool with_relu, int64_t batch, uint64_t seed) {
  const int64_t depth = with_relu ? 32 : 64;  // longer where the interval has to be narrow
  constexpr int64_t kFirst = 6, kLeftOut = 4;
  Generator generator(seed, "growth");
  Tape tape;
  Tensor h = randn({batch, kWidth}, generator).set_requires_grad();
  std::vector<Tensor> results;
  for (int64_t l = 0; l < depth; ++l) {
    h = normalized(linear(h, weights(kWidth, kWidth, gain_of(with_relu), generator)), norm);
    results.push_back(h);
    if (with_relu) h = relu(h);
  }
  const Tensor loss = sum(h * randn({batch, kWidth}, generator));
  const std::vector<Tensor> gradients = tape.gradient(loss, results);
  std::vector<double> layers, logarithms;
  for (int64_t l = kFirst; l < depth - kLeftOut; ++l) {
    layers.push_back(static_cast<double>(l));
    logarithms.push_back(std::log(squared(gradients[static_cast<size_t>(l)])));
  }
  return std::exp(-slope(layers, logarithms));
}

struct Growth {
  const char* part;
  Norm norm;
  bool with_relu;
  int64_t batch;
  double theory;  // 0: none for this batch
};
constexpr Growth kGrowths[] = {
    {"growth linear", Norm::batch, false, 8, 6 / 5.},
    {"growth linear", Norm::batch, false, 16, 14 / 13.},
    {"growth linear", Norm::batch, false, 32, 30 / 29.},
    {"growth relu", Norm::batch, true, 8, 0},
    {"growth relu", Norm::batch, true, 16, 0},
    {"growth relu", Norm::batch, true, 32, 0},
    {"growth relu", Norm::batch, true, 128, 0},
    {"growth relu", Norm::layer, true, 32, 0},
    {"growth relu", Norm::none, true, 32, 0},
};
const double kReluLimit = M_PI / (M_PI - 1);

Rows measure_growth(uint64_t seed) {
  Rows rows;
  for (const Growth& g : kGrowths)
    rows.push_back({g.part, name(g.norm), fmt::format("B={}", g.batch),
                    static_cast<double>(g.batch), seed, -1, "growth",
                    gradient_growth(g.norm, g.with_relu, g.batch, seed)});
  return rows;
}

/// 32 digits as rows of kWidth features.
Tensor projected_digits(uint64_t seed, Generator& generator) {
  const Tensor x = flatten(run_images("digits", seed).train[arange(32)].x, 1);
  return linear(x, weights(kWidth, x.size(1), 1, generator));
}

/// The mean cosine of two different rows.
double mean_cosine(const Tensor& h) {
  const Tensor unit = h / sqrt(sum(square(h), {1}, true));
  const auto n = static_cast<double>(h.size(0));
  return (squared(sum(unit, {0})) - n) / (n * (n - 1));
}

Rows measure_cosine(uint64_t seed) {
  Rows rows;
  for (const Norm norm : {Norm::none, Norm::batch, Norm::layer}) {
    Generator generator(seed, "cosine");
    Tensor h = projected_digits(seed, generator);
    for (int l = 1; l <= 32; ++l) {
      h = normalized(linear(h, weights(kWidth, kWidth, gain_of(l > 1), generator)), norm);
      rows.push_back({"cosine", name(norm), fmt::format("depth={}", l), static_cast<double>(l),
                      seed, -1, "cosine", mean_cosine(h)});
      h = relu(h);
    }
  }
  return rows;
}

/// The share of block l's branch in the mean square of what the block adds up,
/// x + W relu(norm(x)).
Rows measure_branches(uint64_t seed) {
  Rows rows;
  for (const Norm norm : {Norm::none, Norm::batch, Norm::layer}) {
    Generator generator(seed, "branches");
    Tensor x = projected_digits(seed, generator);
    x = x / std::sqrt(squared(x) / static_cast<double>(x.numel()));
    for (int l = 1; l <= 32; ++l) {
      const Tensor w = weights(kWidth, kWidth, gain_of(true), generator);
      const Tensor branch = linear(relu(normalized(x, norm)), w);
      rows.push_back({"branch", name(norm), fmt::format("block={}", l), static_cast<double>(l),
                      seed, -1, "share", squared(branch) / (squared(branch) + squared(x))});
      x = x + branch;
    }
  }
  return rows;
}

/// The gradient of the last perceptron's second weight at initialization, as Xavier's.
double last_gradient(NormPlace place, int64_t depth, uint64_t seed) {
  const RunData data = run_vowels(seed);
  Transformer model(data.train.x.size(1), data.train.x.size(2), data.train.classes,
                    {.depth = depth, .norm = Norm::layer, .norm_place = place});
  model.initialize(seed);
  for (auto& [path, parameter] : model.named_parameters()) {
    Generator generator(seed, path);
    if (parameter.ndim() != 2) continue;
    Tensor values = parameter;
    Init::xavier_normal(parameter.size(1), parameter.size(0)).draw(values, generator);
  }
  const Dataset batch = data.train[arange(32)];
  Tape tape;
  const Tensor loss = cross_entropy(model.forward(batch.x, batch["lengths"]), batch.y);
  const std::string last = fmt::format("blocks.{}.linear2.weight", depth - 1);
  for (const auto& [path, parameter] : model.named_parameters())
    if (path == last) return std::sqrt(squared(tape.gradient(loss, parameter)));
  fail("lab: there is no {}", last);
}

Rows measure_places(uint64_t seed) {
  Rows rows;
  for (const NormPlace place : {NormPlace::before, NormPlace::after})
    for (const int64_t depth : {1, 2, 4, 8, 16})
      rows.push_back({place == NormPlace::before ? "norm before" : "norm after", "layer",
                      fmt::format("depth={}", depth), static_cast<double>(depth), seed, -1,
                      "last gradient", last_gradient(place, depth, seed)});
  return rows;
}

/// f(c w) against f(w), and the squared norm of w after steps of SGD against the sum of its first
/// one and the steps' squared lengths; in double, with an eps of 1e-12.
Rows measure_scale(uint64_t seed) {
  constexpr double kScale = 10, kRate = 0.1;
  constexpr int kSteps = 20;
  Rows rows;
  for (const Norm norm : {Norm::none, Norm::batch, Norm::layer}) {
    Generator generator(seed, "scale");
    const Tensor x = randn({32, 20}, generator, DType::f64);
    const Tensor head = randn({10, 16}, generator, DType::f64);
    const Tensor labels = randint(0, 10, {32}, generator);
    Tensor w = randn({16, 20}, generator, DType::f64);
    const auto f = [&](const Tensor& weight) {
      return linear(relu(normalized(linear(x, weight), norm, 1e-12)), head);
    };
    const auto add = [&](const char* quantity, double value) {
      rows.push_back({"scale", name(norm), "all", 0, seed, -1, quantity, value});
    };
    const Tensor y = f(w);
    add("f(10 w) - f(w)", std::sqrt(squared(f(w * kScale) - y) / squared(y)));
    const double first = squared(w);
    double added = 0;
    for (int step = 0; step < kSteps; ++step) {
      Tape tape;
      w = w + 0.0;
      w.set_requires_grad();
      const Tensor g = tape.gradient(cross_entropy(f(w), labels), w);
      const NoRecord constant;
      added += kRate * kRate * squared(g);
      w = w - g * kRate;
    }
    add("growth of the norm against theory", std::abs(squared(w) - first - added) / added);
    add("squared norm after 20 steps", squared(w) / first);
  }
  return rows;
}

std::vector<Job> jobs(const StudyOptions& options) {
  std::vector<Job> all;
  for (const uint64_t seed : options.all_seeds()) {
    all.push_back({"growth", [=] { return measure_growth(seed); }});
    all.push_back({"cosine", [=] { return measure_cosine(seed); }});
    all.push_back({"branches", [=] { return measure_branches(seed); }});
    all.push_back({"norm before and after", [=] { return measure_places(seed); }});
    all.push_back({"scale", [=] { return measure_scale(seed); }});
  }
  return all;
}

/// The mean over the seeds of the logarithm of measured over predicted, and what it says. `effect`
/// is the logarithm of what theory predicts over what there would be without it: what is off by a
/// tenth of that, or by kMargin, is not as predicted.
std::string against_theory(const std::vector<double>& logarithms, double effect) {
  if (logarithms.size() < 2) return fmt::format("{:.3f}; one seed", std::exp(logarithms.at(0)));
  const Estimate e = paired(logarithms);
  const double margin = std::min(kMargin, effect / 10);
  const char* verdict = equivalent(e, margin)         ? "equivalent"
                        : e.low() > 0 || e.high() < 0 ? "it differs"
                                                      : "undecided";
  return fmt::format(
      "{:.4f} [{:.4f}, {:.4f}] times as predicted, 95 %; {} seeds, margin {:.2g} %: {}",
      std::exp(e.mean), std::exp(e.low()), std::exp(e.high()), logarithms.size(), 100 * margin,
      verdict);
}

/// The mean over the blocks of log(share (l + 1)), by seed.
std::vector<double> branches_against_theory(const Rows& rows, const std::string& norm) {
  std::map<uint64_t, std::pair<double, double>> sums;
  for (const Row& row : rows)
    if (row.part == "branch" && row.norm == norm) {
      sums[row.seed].first += std::log(row.value * (row.x + 1));
      ++sums[row.seed].second;
    }
  std::vector<double> means;
  for (const auto& [seed, sum] : sums) means.push_back(sum.first / sum.second);
  return means;
}

/// The exponent of the last gradient over the depth, by seed.
std::vector<double> exponents(const Rows& rows, const char* part) {
  std::map<uint64_t, std::pair<std::vector<double>, std::vector<double>>> points;
  for (const Row& row : rows)
    if (row.part == part) {
      points[row.seed].first.push_back(std::log(row.x));
      points[row.seed].second.push_back(std::log(row.value));
    }
  std::vector<double> all;
  for (const auto& [seed, xy] : points) all.push_back(slope(xy.first, xy.second));
  return all;
}

std::vector<Curve> of_norms(const Rows& rows, const char* part, const char* quantity) {
  return {{"BN", 1, medians(rows, {part, "batch", "", quantity})},
          {"LN", 2, medians(rows, {part, "layer", "", quantity})},
          {"none", 3, medians(rows, {part, "none", "", quantity})}};
}

Figure growth_figure(const Rows& rows) {
  Curve linear{"(B-2)/(B-3)", 3, {}, true}, relu_limit{"pi/(pi-1)", 3, {}, true};
  for (const double b : {8., 16., 32.}) linear.points.emplace_back(b, (b - 2) / (b - 3));
  for (const double b : {8., 128.}) relu_limit.points.emplace_back(b, kReluLimit);
  const std::string settings =
      "set logscale x 2\nset xlabel 'samples of a batch, B'\n"
      "set ylabel 'growth of the squared gradient a layer'\nset key top right\n";
  return {
      "signal-growth",
      fmt::format(
          "By which factor the squared gradient grows from each layer to the one before it, in "
          "nets with BN at initialization (medians over seeds): in linear nets {:.3f}, {:.3f}, "
          "{:.3f} "
          "at B = 8, 16, 32; dashed, Yang et al.'s (B-2)/(B-3): {:.3f}, {:.3f}, {:.3f}. With relu "
          "it is "
          "{:.2f} at 8 and {:.2f} at 128; pi/(pi-1) = {:.3f} is the limit of large batches.",
          median(values_of(rows, {"growth linear", "batch", "B=8", "growth"})),
          median(values_of(rows, {"growth linear", "batch", "B=16", "growth"})),
          median(values_of(rows, {"growth linear", "batch", "B=32", "growth"})), 6. / 5, 14. / 13,
          30. / 29, median(values_of(rows, {"growth relu", "batch", "B=8", "growth"})),
          median(values_of(rows, {"growth relu", "batch", "B=128", "growth"})), kReluLimit),
      plot_of(settings, {{"BN, linear", 1, medians(rows, {"growth linear", "batch", "", "growth"})},
                         linear,
                         {"BN, relu", 4, medians(rows, {"growth relu", "batch", "", "growth"})},
                         relu_limit})};
}

double at_depth(const Rows& rows, const char* norm) {
  return median(values_of(rows, {"cosine", norm, "depth=32", "cosine"}));
}

std::vector<Figure> figures(const Rows& rows) {
  Curve share{"1/(l+1)", 4, {}, true};
  for (const double l : {1., 2., 4., 8., 16., 32.}) share.points.emplace_back(l, 1 / (l + 1));
  std::vector<Curve> shares = of_norms(rows, "branch", "share");
  shares.push_back(share);
  return {
      growth_figure(rows),
      {"signal-cosine",
       fmt::format("How alike different digits become with depth (mean cosine of two samples of a "
                   "batch of 32 after each norm, relu nets at initialization, medians). At depth "
                   "32: LN {:.2f}, no norm {:.2f}, BN {:.2f}.",
                   at_depth(rows, "layer"), at_depth(rows, "none"), at_depth(rows, "batch")),
       plot_of("set xlabel 'layer'\nset ylabel 'mean cosine of two samples'\n"
               "set yrange [-0.1:1.05]\nset key center right\n",
               of_norms(rows, "cosine", "cosine"))},
      {"signal-branch",
       "The share of a residual block's branch in the mean square of x + W relu(norm(x)): with a "
       "norm it falls about as 1/(l+1) with the block's number l, without one it stays at a half.",
       plot_of("set logscale xy 2\nset xlabel 'block, l'\nset ylabel 'share of the branch'\n"
               "set yrange [1./64:1]\nset key bottom left\n",
               shares)},
      {"signal-places",
       fmt::format("The gradient of the last block's second weight at initialization over a "
                   "transformer's depth L (medians). LN before each part: as L to the {:.2f}; LN "
                   "after it: L to the {:.2f}.",
                   median(exponents(rows, "norm before")), median(exponents(rows, "norm after"))),
       plot_of("set logscale xy 2\nset xlabel 'blocks, L'\nset ylabel 'norm of the gradient'\n"
               "set key center left\n",
               {{"LN before", 2, medians(rows, {"norm before", "layer", "", "last gradient"})},
                {"LN after", 5, medians(rows, {"norm after", "layer", "", "last gradient"})}})}};
}

std::string growth_finding(const Rows& rows, const Growth& g) {
  const auto values =
      values_of(rows, {g.part, name(g.norm), fmt::format("B={}", g.batch).c_str(), "growth"});
  const std::string what = fmt::format(
      "Growth of the squared gradient a layer, {}, {}, B={}: ", g.with_relu ? "relu" : "linear",
      in_words(name(g.norm)), g.batch);
  if (g.theory == 0) return fmt::format("{}{} (median [range]).", what, median_and_range(values));
  std::vector<double> logarithms;
  for (const double value : values) logarithms.push_back(std::log(value / g.theory));
  return fmt::format("{}{:.3f} for {:.3f}, {}.", what, median(values), g.theory,
                     against_theory(logarithms, std::log(g.theory)));
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const Growth& g : kGrowths) all.push_back(growth_finding(rows, g));
  for (const char* norm : {"batch", "layer", "none"})
    all.push_back(fmt::format(
        "Mean cosine of two samples at depth 32, {}: {} (median [range]).", in_words(norm),
        median_and_range(values_of(rows, {"cosine", norm, "depth=32", "cosine"}))));
  for (const char* norm : {"batch", "layer"})
    all.push_back(fmt::format(
        "Share of a block's branch, {}, mean over 32 blocks, against 1/(l+1): {}.", in_words(norm),
        against_theory(branches_against_theory(rows, norm), std::log(8))));
  for (const char* part : {"norm before", "norm after"})
    all.push_back(fmt::format(
        "Transformer, LN, {}: the last gradient goes as the depth to the power {} (median "
        "[range]).",
        part, median_and_range(exponents(rows, part))));
  for (const char* norm : {"batch", "layer", "none"})
    all.push_back(fmt::format(
        "{}: f(10 w) differs from f(w) by {:.1g} of it; |w'|^2 - |w|^2 differs from the sum "
        "of rate^2 |g|^2 by {:.1g} of it over 20 steps (largest over seeds).",
        in_words(norm), largest(values_of(rows, {"scale", norm, "", "f(10 w) - f(w)"})),
        largest(values_of(rows, {"scale", norm, "", "growth of the norm against theory"}))));
  return all;
}

const ExperimentEntry entry(
    100,
    {.name = "signal",
     .statements = {},
     .question = "Do signals, gradients and weights behave as theory says?",
     .setup =
         "Nets of width 256 with normal weights of variance 1/inputs (2/inputs before relu) at "
         "initialization, without weights or biases in the norms: the squared gradient of a random "
         "linear loss with respect to each layer's result (32 layers; linear nets 64; normal "
         "inputs, B = 8, 16, 32, "
         "128); the cosine of two of 32 digits after each of 32 layers; the branch's share in each "
         "of 32 residual blocks x + W relu(norm(x)). A transformer of width 32 on 32 utterances "
         "with LN before or after each part, depths 1 to 16, Xavier's initialization. One layer in "
         "double precision, its weights times 10 and trained by 20 steps of SGD.",
     .rule =
         "No endpoint of the seven statements. Growth in linear BN nets and the branch's share are "
         "compared with (B-2)/(B-3) and, over all blocks, with 1/(l+1): equivalent if the 90 % "
         "interval of the mean logarithm of measured over predicted lies within 0.02 or, where "
         "that is less, within a tenth of the logarithm of the predicted effect itself: 2 % would "
         "be most of a growth of 3 % at B = 32. Where the 95 % interval excludes 0 and the margin "
         "is not kept, it differs, as a net of finite width may. The limit pi/(pi-1) is one of "
         "large batches, so it is shown beside, not tested. f(10 w) = f(w) and |w'|^2 = |w|^2 + "
         "rate^2 |g|^2 are exact below 1e-5. Changed after a look at seeds 1 to 10, whose "
         "intervals were wider than the margin: linear nets have 64 layers for 32, and the "
         "branch's share is taken over all blocks, not at single ones; after a look at seeds 1001 "
         "to "
         "1010 the margin, which was 0.02 for all.",
     .limits =
         "Initialization only: training changes all of it. Theory "
         "is for infinite width; here it "
         "is 256. That BN's gradients grow with depth holds for plain nets; residual ones shrink "
         "their branches instead.",
     .sources = {{"Yang et al. 2019", "section 3.1.2, theorem 8",
                  "gradients grow with BN, in linear nets by (B-2)/(B-3)"},
                 {"Daneshmand et al. 2020", "abstract",
                  "samples without BN become alike with depth"},
                 {"De & Smith 2020", "abstract", "the branch's share"},
                 {"Brock et al. 2021", "section 2", "the branch's share"},
                 {"Xiong et al. 2020", "section 3.3, theorem 1", "last layer's gradient"},
                 {"Ba et al. 2016", "section 5.1", "scale invariance"},
                 {"Salimans & Kingma 2016", "section 2.1", "the weights' norm grows"},
                 {"van Laarhoven 2017", "abstract", "scale of the weights and effective rate"}},
     .seconds = 4.5,
     .on_images = false,
     .jobs = jobs,
     .figures = figures,
     .findings = findings});

}  // namespace

}  // namespace gradus::lab
