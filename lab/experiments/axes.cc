// Who affects whom: the pattern of dy/dx of every norm, computed by the tape, against what the
// definitions say shares a statistic.
#include <fmt/format.h>
#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/data/dataset.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/group_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/lengths.h>
#include <gradus/models/transformer.h>
#include <gradus/tensor/index.h>

#include <cmath>
#include <map>

#include "lab/study/figures.h"

namespace gradus::lab {

namespace {

/// Where an element stands: its sample, its channel or feature, its pixel or step.
struct Place {
  int64_t n, c, p;
};

constexpr int64_t kGroups = 2;

struct Case {
  const char *part, *norm, *cell;  // in the rows; the cell says over which axes
  const char* title;
  bool masked;  // whether the norm is told what is padding
  /// Elements of one number share a statistic.
  int64_t (*statistic)(const Place& at);
  Tensor (*apply)(const Tensor& x, const Tensor& valid);
};

template <class Norm>
Tensor run(Norm norm, const Tensor& x, const Tensor& valid = {}) {
  norm.to(x.dtype());
  return norm(x, valid);
}

Tensor bn_of_images(const Tensor& x, const Tensor&) { return run(BatchNorm(x.size(1)), x); }
Tensor ln_of_images(const Tensor& x, const Tensor&) {
  return run(LayerNorm(Shape{x.size(1), x.size(2), x.size(3)}), x);
}
Tensor ln_of_pixels(const Tensor& x, const Tensor&) {
  return permute(run(LayerNorm(x.size(1)), permute(x, {0, 2, 3, 1})), {0, 3, 1, 2});
}
Tensor one_group(const Tensor& x, const Tensor&) { return run(GroupNorm(1, x.size(1)), x); }
Tensor groups(const Tensor& x, const Tensor&) { return run(GroupNorm(kGroups, x.size(1)), x); }
Tensor instances(const Tensor& x, const Tensor&) { return run(InstanceNorm(x.size(1)), x); }

Tensor bn_of_all_steps(const Tensor& x, const Tensor& valid) {
  return run(BatchNorm(x.size(2), {.channels_last = true}), x, valid);
}
Tensor bn_per_step(const Tensor& x, const Tensor& valid) {
  TensorList steps = unbind(x, 1);
  for (size_t t = 0; t < steps.size(); ++t)
    steps[t] = bn_of_all_steps(
        steps[t].ndim() == 2 ? unsqueeze(steps[t], 1) : steps[t],
        valid ? slice(valid, 1, static_cast<int64_t>(t), static_cast<int64_t>(t) + 1) : Tensor());
  return concat(steps, 1);
}
Tensor ln_of_tokens(const Tensor& x, const Tensor& valid) {
  return run(LayerNorm(x.size(2)), x, valid);
}
Tensor ln_of_sequences(const Tensor& x, const Tensor&) {
  return run(LayerNorm(Shape{x.size(1), x.size(2)}), x);
}

int64_t pair(int64_t a, int64_t b) { return a * 1'000'000 + b; }
int64_t by_sample(const Place& at) { return at.n; }
int64_t by_channel(const Place& at) { return at.c; }
int64_t by_position(const Place& at) { return pair(at.n, at.p); }
int64_t by_instance(const Place& at) { return pair(at.n, at.c); }
int64_t by_step(const Place& at) { return pair(at.p, at.c); }
int64_t by_group(const Place& at) { return pair(at.n, at.c / 2); }  // of four channels in 2 groups

constexpr Case kCases[] = {
    {"images", "batch", "N H W", "BN", false, by_channel, bn_of_images},
    {"images", "layer", "C H W", "LN", false, by_sample, ln_of_images},
    {"images", "layer", "C", "LN, each pixel", false, by_position, ln_of_pixels},
    {"images", "layer_channel", "C H W", "GN, 1 group", false, by_sample, one_group},
    {"images", "group", "half of C H W", "GN, 2 groups", false, by_group, groups},
    {"images", "instance", "H W", "IN", false, by_instance, instances},
    {"sequences", "batch", "N T masked", "BN", true, by_channel, bn_of_all_steps},
    {"sequences", "batch", "N T unmasked", "BN, unmasked", false, by_channel, bn_of_all_steps},
    {"sequences", "batch per step", "N masked", "BN, each step", true, by_step, bn_per_step},
    {"sequences", "batch per step", "N unmasked", "BN, each step, unmasked", false, by_step,
     bn_per_step},
    {"sequences", "layer", "D masked", "LN, each token", true, by_position, ln_of_tokens},
    {"sequences", "layer", "D unmasked", "LN, each token, unmasked", false, by_position,
     ln_of_tokens},
    {"sequences", "layer", "T D", "LN, whole sequence", false, by_sample, ln_of_sequences},
};

/// A batch of images (N, C, H, W), or sequences (N, T, D) with a mask (N, T).
struct Elements {
  Tensor x, valid;
  bool images() const { return x.ndim() == 4; }
  Place at(int64_t i) const {
    const Shape& s = x.shape();
    if (images()) return {i / (s[1] * s[2] * s[3]), i / (s[2] * s[3]) % s[1], i % (s[2] * s[3])};
    return {i / (s[1] * s[2]), i % s[2], i / s[2] % s[1]};
  }
  bool is_valid(const Place& at) const {
    return !valid || valid.data<bool>()[at.n * x.size(1) + at.p];
  }
};

Elements random_images() {
  Generator generator(1, "images");
  return {randn({4, 4, 3, 3}, generator, DType::f64), {}};
}
Elements random_sequences() {
  Generator generator(1, "sequences");
  const Tensor lengths = Tensor::from(std::vector<int64_t>{5, 5, 5, 4, 3}, {5});
  return {randn({5, 5, 3}, generator, DType::f64), length_mask(lengths, 5)};
}
/// Sixteen digits, each square of 2x2 pixels as four channels.
Elements real_images() {
  Generator order(1, "real images");
  const Dataset data = digits();
  const Tensor x = data[slice(randperm(data.size(), order), 0, 0, 16)].x;
  const Tensor channels = transpose(patches(x, 2), 1, 2);
  return {contiguous(reshape(channels, {16, 4, 4, 4})), {}};
}
Elements real_sequences() {
  Generator order(1, "real sequences");
  const Dataset data = japanese_vowels().train;
  const Dataset batch = data[slice(randperm(data.size(), order), 0, 0, 16)];
  return {batch.x, length_mask(batch["lengths"], batch.x.size(1))};
}

Tensor mask_for(const Case& c, const Elements& e) { return c.masked ? e.valid : Tensor(); }

Row row(const Case& c, const char* quantity, double value, double x = 0) {
  return {c.part, c.norm, c.cell, x, 0, -1, quantity, value};
}

/// Whether the definition lets y at `out` depend on x at `in`.
bool depends(const Case& c, const Elements& e, const Place& out, const Place& in) {
  if (c.masked && (!e.is_valid(out) || !e.is_valid(in))) return false;
  return c.statistic(out) == c.statistic(in);
}

/// The output whose pattern is drawn: the third sample's first feature, in the middle of the rest.
bool is_shown(const Elements& e, const Place& at) {
  return at.n == 2 && at.c == 0 && at.p == (e.images() ? 4 : 2);
}

/// How far outputs that are no padding depend on others.
struct Influence {
  double other_samples = 0, other_channels = 0, other_positions = 0, later = 0, padding = 0;
  void add(const Elements& e, const Place& out, const Place& in, double derivative) {
    const double d = std::abs(derivative);
    const auto note = [&](double& most, bool counts) {
      if (counts) most = std::max(most, d);
    };
    if (!e.is_valid(out)) return;
    note(padding, !e.is_valid(in));
    if (!e.is_valid(in)) return;
    note(other_samples, in.n != out.n);
    note(other_channels, in.n == out.n && in.c != out.c);
    note(other_positions, in.n == out.n && in.p != out.p);
    note(later, in.p > out.p);
  }
  void append(const Case& c, const Elements& e, Rows& rows) const {
    rows.push_back(row(c, "other samples", other_samples));
    rows.push_back(row(c, "other channels", other_channels));
    rows.push_back(row(c, "other positions", other_positions));
    if (e.images()) return;
    rows.push_back(row(c, "later steps", later));
    rows.push_back(row(c, "padding", padding));
  }
};

/// dy/dx of all elements, and how many entries are 0 or not against the definition.
double pattern(const Case& c, const Elements& e, Rows& rows) {
  const Tensor valid = mask_for(c, e);
  const std::vector<double> dy_dx =
      jacobian([&](const Tensor& x) { return c.apply(x, valid); }, e.x).to_vector<double>();
  const int64_t size = e.x.numel();
  double mismatch = 0;
  Influence influence;
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j) {
      const double derivative = dy_dx[static_cast<size_t>(i * size + j)];
      const Place out = e.at(i), in = e.at(j);
      if ((derivative != 0) != depends(c, e, out, in)) ++mismatch;
      influence.add(e, out, in, derivative);
      if (is_shown(e, out)) rows.push_back(row(c, "dy/dx", derivative, static_cast<double>(j)));
    }
  rows.push_back(row(c, "mismatch", mismatch));
  influence.append(c, e, rows);
  return mismatch;
}

/// Sums of the values of one statistic.
struct Sums {
  double count = 0, mean = 0, var = 0;
};

/// x^ of a case by its definition, in double. A lone value of a mask is normalized by the running
/// statistics of a fresh BatchNorm, mean 0 and variance 1.
std::vector<double> by_hand(const Case& c, const Elements& e) {
  const std::vector<double> x = e.x.to_vector<double>();
  std::map<int64_t, Sums> statistics;
  const auto each = [&](const auto& f) {
    for (size_t i = 0; i < x.size(); ++i)
      if (const Place at = e.at(static_cast<int64_t>(i)); !c.masked || e.is_valid(at))
        f(i, statistics[c.statistic(at)]);
  };
  each([&](size_t i, Sums& s) { s.mean += x[i], ++s.count; });
  for (auto& [number, s] : statistics) s.mean /= s.count;
  each([&](size_t i, Sums& s) { s.var += (x[i] - s.mean) * (x[i] - s.mean) / s.count; });
  for (auto& [number, s] : statistics)
    if (s.count == 1) s = {1, 0, 1};
  std::vector<double> y(x.size());
  each([&](size_t i, const Sums& s) { y[i] = (x[i] - s.mean) / std::sqrt(s.var + 1e-5); });
  return y;
}

Rows patterns() {
  const Elements images = random_images(), sequences = random_sequences();
  const Elements digits = real_images(), vowels = real_sequences();
  Rows rows;
  double mismatch = 0;
  for (const Case& c : kCases) {
    const bool image = std::string(c.part) == "images";
    mismatch += pattern(c, image ? images : sequences, rows);
    const Elements& real = image ? digits : vowels;
    rows.push_back(row(c, "difference by hand",
                       relative_difference(c.apply(real.x, mask_for(c, real)).to_vector<double>(),
                                           by_hand(c, real))));
  }
  rows.push_back({"patterns", "all", "all", 0, 0, -1, "mismatch", mismatch});
  return rows;
}

/// The larger relative difference of two functions' values and of their J^T u.
double function_difference(const Function& f, const Function& g, const Tensor& x) {
  Generator generator(1, "u");
  const std::span<const Tensor> xs(&x, 1);
  const Tensor u = randn(x.shape(), generator, x.dtype());
  return std::max(
      relative_difference(f(xs).to_vector<double>(), g(xs).to_vector<double>()),
      relative_difference(vjp(f, x, u).to_vector<double>(), vjp(g, x, u).to_vector<double>()));
}

Rows identities() {
  const Tensor x = random_images().x;
  Generator generator(1, "weight");
  const Tensor weight = randn({x.size(1)}, generator, x.dtype());
  const Shape image{x.size(1), x.size(2), x.size(3)};
  const Tensor weights = contiguous(expand(reshape(weight, {x.size(1), 1, 1}), image));
  Rows rows;
  const auto add = [&](const char* cell, const Function& f, const Function& g, const Tensor& at) {
    rows.push_back({"identities", "all", cell, 0, 0, -1, "relative difference",
                    function_difference(f, g, at)});
  };
  add(
      "GN(1) = LN with a weight a channel",
      [&](const Tensor& at) { return group_norm(at, 1, weight); },
      [&](const Tensor& at) { return layer_norm(at, image, weights); }, x);
  add(
      "GN(C) = IN", [&](const Tensor& at) { return group_norm(at, at.size(1)); },
      [&](const Tensor& at) { return instances(at, {}); }, x);
  add(
      "BN of one image = IN", [&](const Tensor& at) { return bn_of_images(at, {}); },
      [&](const Tensor& at) { return instances(at, {}); }, contiguous(slice(x, 0, 0, 1)));
  return rows;
}

std::vector<Job> jobs(const StudyOptions&) {
  return {{"patterns of dy/dx", patterns}, {"identities", identities}};
}

/// What a row's value is in a case; there is one.
double value(const Rows& rows, const char* norm, const char* cell, const char* quantity,
             const char* part = "sequences") {
  return values_of(rows, {part, norm, cell, quantity}).at(0);
}

/// Cells of a panel: a rectangle for each input, filled where the shown output depends on it.
std::string cells_of(const Case& c, const Elements& e, const Rows& rows, double left, double top) {
  const std::vector<double> dy_dx = values_of(rows, {c.part, c.norm, c.cell, "dy/dx"});
  std::string lines;
  for (size_t j = 0; j < dy_dx.size(); ++j) {
    const Place at = e.at(static_cast<int64_t>(j));
    const int64_t width = e.images() ? 3 : e.x.size(2);
    const double x = left + static_cast<double>(e.images() ? at.n * (width + 1) + at.p % width
                                                           : at.p * (width + 1) + at.c);
    const double y =
        top - static_cast<double>(e.images() ? at.c * (width + 1) + at.p / width : at.n * 2);
    const int kind = is_shown(e, at) ? 3 : dy_dx[j] != 0 ? 2 : e.is_valid(at) ? 1 : 0;
    lines +=
        fmt::format("{} {} {} \"sample {}, {} {}, {} {}{}: dy/dx = {:.2g}\"\n", x, y, kind, at.n,
                    e.images() ? "channel" : "feature", at.c, e.images() ? "pixel" : "step", at.p,
                    e.is_valid(at) ? "" : " (padding)", dy_dx[j]);
  }
  return lines;
}

int colour_of(const Case& c) {
  const std::string norm = c.norm;
  return norm.starts_with("batch") ? 1 : norm.starts_with("layer") ? 2 : norm == "group" ? 4 : 5;
}

Figure panels(const char* part, const Elements& e, const Rows& rows, double width, double height) {
  std::string blocks, labels, plots;
  int i = 0;
  for (const Case& c : kCases) {
    if (std::string(part) != c.part) continue;
    const double left = width * (i % 3), top = -height * (i / 3);
    blocks += fmt::format("$panel{} << END\n{}END\n", i, cells_of(c, e, rows, left, top));
    labels += fmt::format("set label {} \"{}\" at {},{} left\n", i + 1, c.title, left, top + 2);
    const auto box = [&](int kind, const std::string& style) {
      plots +=
          fmt::format("{}$panel{} using ($3=={}?$1:1/0):2:(.45):(.45) with boxxyerror {} notitle",
                      plots.empty() ? "" : ", ", i, kind, style);
    };
    box(0, "lc rgb '#b0b0b0' lw .5 fs empty border");
    box(1, "lc rgb '#dcdcdc' fs solid 1 noborder");
    box(2, fmt::format("fs solid 1 noborder lt {}", colour_of(c)));
    box(3, "fs solid 1 noborder lc rgb '#000000'");
    plots += fmt::format(
        ", $panel{} using 1:2:4 with labels hypertext point pt 5 ps .3 lc rgb '#ff000000' notitle",
        i);
    ++i;
  }
  const double bottom = -height * ((i + 2) / 3) + 2;
  const std::string settings = fmt::format(
      "unset tics\nunset border\nunset key\nunset grid\nset xrange [-1:{}]\n"
      "set yrange [{}:4]\n",
      3 * width - 1, bottom);
  return {fmt::format("axes-{}", part), "", blocks + settings + labels + "plot " + plots + "\n",
          720, e.images() ? 480 : 420};
}

std::vector<Figure> figures(const Rows& rows) {
  Figure images = panels("images", random_images(), rows, 20, 20);
  images.caption =
      "Four images side by side, their four channels below each other, 3x3 pixels each. The black "
      "pixel is an output; coloured are the inputs that it depends on (dy/dx is not 0, computed by "
      "the tape). BN: the same channel of every image. LN and GN with one group: everything in its "
      "own image. LN of each pixel: the channels at its place. GN: half of the channels of its "
      "image. IN: its channel of its image.";
  Figure sequences = panels("sequences", random_sequences(), rows, 24, 14);
  sequences.caption = fmt::format(
      "Five sequences below each other, five steps of three features side by side; open cells are "
      "padding. The black cell is an output; coloured are the inputs that it depends on. BN over "
      "all steps reaches other samples (|dy/dx| up to {:.2g}) and later steps ({:.2g}), without a "
      "mask padding as well ({:.2g}); BN of each step reaches other samples alone; LN of each "
      "token nothing but its token; LN over whole sequences later steps ({:.2g}).",
      value(rows, "batch", "N T masked", "other samples"),
      value(rows, "batch", "N T masked", "later steps"),
      value(rows, "batch", "N T unmasked", "padding"), value(rows, "layer", "T D", "later steps"));
  return {images, sequences};
}

std::vector<std::string> findings(const Rows& rows) {
  std::vector<std::string> all;
  for (const Case& c : kCases) {
    if (std::string(c.part) == "images") continue;
    const auto says = [&](const char* quantity) {
      const double most = value(rows, c.norm, c.cell, quantity);
      return most == 0 ? std::string("no") : fmt::format("yes ({:.2g})", most);
    };
    all.push_back(fmt::format(
        "{} over {}: does an output depend on other samples? {}; on later steps? {}; on padded "
        "places? {} (largest |dy/dx|).",
        std::string(c.norm).starts_with("batch") ? "BN" : "LN", c.cell, says("other samples"),
        says("later steps"), says("padding")));
  }
  for (const Row& r : rows)
    if (r.part == "identities")
      all.push_back(fmt::format("{}: values and gradients differ by {:.1g} of the largest.", r.cell,
                                r.value));
  all.push_back(fmt::format(
      "On 16 digits and 16 utterances the layers' results in single precision differ from what the "
      "definitions give in double by at most {:.1g} of the largest value.",
      largest(values_of(rows, {"", "", "", "difference by hand"}))));
  return all;
}

const ExperimentEntry entry(
    10,
    {.name = "axes",
     .statements = {1, 4},
     .question = "Which inputs does each output of a norm depend on?",
     .setup =
         "The whole matrix dy/dx is computed by the tape in double precision, for normal random "
         "images (4 samples, 4 channels, 3x3 pixels) and sequences (5 samples of 5 steps and 3 "
         "features, of which two end after 4 and 3 steps): BN, LN over the image, LN of each "
         "pixel, GN with 1 and 2 groups and IN on images; BN over all steps, BN of each step, LN "
         "of each token and LN over the whole sequence on sequences, with and without a mask. The "
         "same layers are applied in single precision to 16 digits (each square of 2x2 pixels as "
         "four channels) and 16 utterances of Japanese Vowels, and recomputed by hand in double.",
     .rule =
         "Endpoint axes: the number of entries of dy/dx that are 0 where the definition lets the "
         "two share a statistic, or are not 0 where it does not, over all 13 cases; exact if there "
         "is none. A sample counts as affected by another, by a later step or by padding wherever "
         "an entry is not exactly 0. No test: nothing is drawn from a population.",
     .limits =
         "The pattern is that of single layers in training mode. In inference BN transforms with "
         "constants, and every output depends on its own input alone. Inputs at which an entry "
         "vanishes by chance (x^ x^' = -1) have probability 0 and did not occur. A statistic of "
         "a single unmasked value does not exist: of BN of each step all steps here have three "
         "sequences or more.",
     .sources = {{"Ioffe & Szegedy 2015", "algorithm 1 and section 3.2", "BN, images"},
                 {"Ba et al. 2016", "equation 3 and section 6.7", "LN, images"},
                 {"Wu & He 2018", "section 3 and figure 2", "GN"},
                 {"Ulyanov et al. 2016", "section 2", "IN"},
                 {"Cooijmans et al. 2016", "section 3", "BN of each step"}},
     .seconds = 0.2,
     .on_images = false,
     .jobs = jobs,
     .figures = figures,
     .findings = findings});

}  // namespace

}  // namespace gradus::lab
