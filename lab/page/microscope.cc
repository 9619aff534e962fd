#include "lab/page/microscope.h"

#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape.h>
#include <gradus/base/error.h>
#include <gradus/data/dataset.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/group_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gradus::lab {

namespace {

using nlohmann::ordered_json;

constexpr int64_t kSamples = 4, kChannels = 4, kGroups = 2, kSteps = 5;
/// As many as running statistics are taken of.
constexpr int64_t kMany = 64;

/// A small batch; `many` is what running statistics are taken of, and begins with the batch.
struct View {
  std::string name, what;
  bool channels_last;
  std::vector<std::string> channels;
  Tensor many;                   ///< (kMany, ...) f64
  std::vector<int64_t> lengths;  ///< of sequences
  double step;                   ///< how far a key moves a value
};

/// Sums of 8x8 pixels of 0 to 16, as a convolution of one filter and some positions gives them.
double weighted(const float* image, int64_t row, int64_t column, const double (&filter)[3][3]) {
  double sum = 0;
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 3; ++j)
      sum += 16 * filter[i][j] * static_cast<double>(image[8 * (row + i) + column + j]);
  return sum;
}

std::vector<float> pixels() { return digits().x.to_vector<float>(); }

View images() {
  constexpr double t = 1.0 / 9, kFilters[kChannels][3][3] = {
                                    {{t, t, t}, {t, t, t}, {t, t, t}},
                                    {{-.125, 0, .125}, {-.25, 0, .25}, {-.125, 0, .125}},
                                    {{-.125, -.25, -.125}, {0, 0, 0}, {.125, .25, .125}},
                                    {{-t, -t, -t}, {-t, 1 - t, -t}, {-t, -t, -t}}};
  const std::vector<float> all = pixels();
  std::vector<double> values;
  for (int64_t n = 0; n < kMany; ++n)
    for (const auto& filter : kFilters)
      for (int64_t row : {1, 4})
        for (int64_t column : {1, 4})
          values.push_back(weighted(all.data() + 64 * n, row, column, filter));
  return {"images",
          "Handwritten digits after a convolution: four 3x3 filters (mean, left to right edge, top "
          "to bottom edge, centre against surround) at 2x2 positions, (N, C, H, W)",
          false,
          {"mean", "edge right", "edge down", "centre"},
          Tensor::from(values, {kMany, kChannels, 2, 2}),
          {},
          0.5};
}

View features() {
  const std::vector<float> all = pixels();
  std::vector<double> values;
  for (int64_t n = 0; n < kMany; ++n)
    for (int64_t quarter = 0; quarter < kChannels; ++quarter) {
      double sum = 0;
      for (int64_t i = 0; i < 16; ++i)
        sum += static_cast<double>(all[static_cast<size_t>(
            64 * n + 8 * (i / 4 + 4 * (quarter / 2)) + i % 4 + 4 * (quarter % 2))]);
      values.push_back(sum);  // 16 pixels of 0 to 1: the mean of 16 of 0 to 16
    }
  return {"features",
          "Handwritten digits as four features: the mean ink of each quarter, (N, D)",
          false,
          {"top left", "top right", "bottom left", "bottom right"},
          Tensor::from(values, {kMany, kChannels}),
          {},
          0.5};
}

/// Every fifth frame of utterances; the first four of different lengths.
View sequences() {
  const Dataset vowels = japanese_vowels().train;
  const std::vector<float> x = vowels.x.to_vector<float>();
  const std::vector<int64_t> frames = vowels["lengths"].to_vector<int64_t>();
  const auto steps_of = [&](int64_t n) {
    return std::min<int64_t>(kSteps, (frames[static_cast<size_t>(n)] + 4) / 5);
  };
  std::vector<int64_t> order;
  for (int64_t steps : {5, 3, 4, 2})
    for (int64_t n = 0; n < vowels.size(); n += 7)
      if (steps_of(n) == steps) {
        order.push_back(n);
        break;
      }
  for (int64_t n = 0; static_cast<int64_t>(order.size()) < kMany; n += 3)
    if (std::find(order.begin(), order.end(), n) == order.end()) order.push_back(n);
  View view{"sequences",
            "Utterances of a vowel: four cepstrum coefficients of every fifth frame, padded to the "
            "longest, (N, T, D)",
            true,
            {"c1", "c2", "c3", "c4"},
            {},
            {},
            0.1};
  std::vector<double> values;
  for (int64_t n : order) {
    view.lengths.push_back(steps_of(n));
    for (int64_t t = 0; t < kSteps; ++t)
      for (int64_t d = 0; d < kChannels; ++d)
        values.push_back(
            t < steps_of(n) ? static_cast<double>(x[static_cast<size_t>((n * 29 + 5 * t) * 12 + d)])
                            : 0);
  }
  view.many = Tensor::from(values, {kMany, kSteps, kChannels});
  return view;
}

/// (n, T) bool; none of what has no lengths.
Tensor valid_of(const View& view, int64_t n) {
  if (view.lengths.empty()) return {};
  std::vector<int64_t> valid;
  for (int64_t i = 0; i < n * kSteps; ++i)
    valid.push_back(i % kSteps < view.lengths[static_cast<size_t>(i / kSteps)]);
  return cast(Tensor::from(valid, {n, kSteps}), DType::boolean);
}

/// GroupNorm has its channels before the positions, and no word for padding.
Tensor by_groups(const View& view, int64_t groups, const Tensor& x) {
  GroupNorm norm(groups, kChannels, {.affine = false});
  return view.channels_last ? transpose(norm(transpose(x, 1, 2)), 1, 2) : norm(x);
}

/// With the running statistics of `many`, a batch of eight after another, and momentum .1.
BatchNorm batch_norm(const View& view) {
  BatchNorm norm(kChannels, {.affine = false, .channels_last = view.channels_last});
  norm.to(DType::f64);
  const Tensor valid = valid_of(view, kMany);
  for (int round = 0; round < 5; ++round)
    for (int64_t n = 0; n < kMany; n += 8)
      norm(slice(view.many, 0, n, n + 8), valid ? slice(valid, 0, n, n + 8) : Tensor());
  return norm;
}

/// x as rows, one for each set of values that share LN's, GN's or IN's statistics.
Tensor rows(const View& view, const std::string& norm, const Tensor& x) {
  const int64_t n = x.shape()[0];
  if (norm == "LN" && view.channels_last) return reshape(x, {n * kSteps, kChannels});
  const int64_t sets = norm == "LN" ? n : n * (norm == "GN" ? kGroups : kChannels);
  return reshape(view.channels_last ? transpose(x, 1, 2) : x, {sets, x.numel() / sets});
}

/// A norm without running statistics, the same in training and inference.
Tensor by_sample(const View& view, const std::string& norm, const Tensor& x, const Tensor& valid) {
  if (norm == "GN") return by_groups(view, kGroups, x);
  if (norm == "IN") return by_groups(view, kChannels, x);
  const Shape features = view.name == "images" ? Shape{kChannels, 2, 2} : Shape{kChannels};
  return LayerNorm(features, {.affine = false})(x, valid);
}

ordered_json numbers(const Tensor& t) { return t.to_vector<double>(); }

ordered_json result(const View& view, const BatchNorm& trained, const std::string& norm,
                    bool training, const Tensor& all_dy, int64_t n) {
  const Tensor valid = valid_of(view, n), dy = slice(all_dy, 0, 0, n);
  Tensor x = raw::clone(slice(view.many, 0, 0, n));
  x.set_requires_grad();
  ordered_json json = {{"view", view.name}, {"norm", norm}, {"training", training}, {"samples", n}};
  Tape tape;
  Tensor y, center, var;
  try {
    if (norm == "BN") {
      BatchNorm layer = trained;
      layer.train(training);
      center = trained.running_mean;
      var = trained.running_var;
      layer.observer = [&](const BatchStatistics& s) { center = s.mean, var = s.var; };
      y = layer(x, valid);
    } else {
      y = by_sample(view, norm, x, valid);
      const Tensor values = rows(view, norm, x), centered = values - mean(values, {1}, true);
      center = mean(values, {1});
      var = mean(centered * centered, {1});
    }
  } catch (const Error& error) {  // the layer says why it cannot
    json["error"] = error.what();
    return json;
  }
  json["mean"] = numbers(center);
  json["var"] = numbers(var);
  json["xhat"] = numbers(y);
  json["dx"] = numbers(tape.gradient(y, x, SweepOptions{.dy = dy}));
  return json;
}

constexpr const char* kNorms[] = {"BN", "LN", "GN", "IN"};

ordered_json shown(const View& view, const BatchNorm& trained, const Tensor& dy) {
  ordered_json json = {
      {"name", view.name},
      {"what", view.what},
      {"channels_last", view.channels_last},
      {"channels", view.channels},
      {"samples", kSamples},
      {"positions", dy.numel() / kSamples / kChannels},
      {"groups", kGroups},
      {"eps", trained.options().eps},
      {"step", view.step},
      {"x", numbers(slice(view.many, 0, 0, kSamples))},
      {"dy", numbers(dy)},
      {"running",
       {{"mean", numbers(trained.running_mean)}, {"var", numbers(trained.running_var)}}}};
  if (!view.lengths.empty())
    json["lengths"] = std::vector<int64_t>(view.lengths.begin(), view.lengths.begin() + kSamples);
  return json;
}

}  // namespace

ordered_json microscope_json() {
  ordered_json json = {{"views", ordered_json::array()}, {"results", ordered_json::array()}};
  for (const View& view : {images(), sequences(), features()}) {
    const BatchNorm trained = batch_norm(view);
    Generator generator(1, view.name);
    const Tensor dy = randn(slice(view.many, 0, 0, kSamples).shape(), generator, DType::f64);
    json["views"].push_back(shown(view, trained, dy));
    for (const char* norm : kNorms)
      for (bool training : {true, false})
        for (int64_t n = 2; n <= kSamples; ++n)
          json["results"].push_back(result(view, trained, norm, training, dy, n));
  }
  return json;
}

}  // namespace gradus::lab
