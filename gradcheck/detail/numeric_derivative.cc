#include <gradus/gradcheck/detail/numeric_derivative.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace gradus::checking {

namespace {

// From step to step. No simple fraction: steps that are all whole periods of f would see a
// constant.
constexpr double kShorten = 0.4823;
constexpr double kShows = 1e-4;
constexpr size_t kColumns = 12;  // of extrapolations; what is older tells nothing of shorter steps

/// The middle one of the first `count` values, which are reordered.
double median(double* values, int count) {
  std::nth_element(values, values + count / 2, values + count);
  return values[count / 2];
}

}  // namespace

std::vector<double> rounding_noise(std::span<const std::vector<double>> points, double epsilon) {
  std::vector<double> noise(points[0].size());
  for (size_t j = 0; j < noise.size(); ++j) {
    std::array<double, kNoisePoints> differences, sizes;
    double largest = 0;
    for (size_t k = 0; k < kNoisePoints; ++k) {
      differences[k] = points[k][j];
      largest = std::max(largest, std::abs(differences[k]));
    }
    double deviation = kInfinity, scale = 1;  // scale: (order!)^2 / (2 order)!
    for (int order = 1; order <= 7; ++order) {
      const int count = kNoisePoints - order;
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        differences[i] = differences[i + 1] - differences[i];
        sizes[i] = std::abs(differences[i]);
      }
      scale *= order / (2.0 * (2 * order - 1));
      if (order < 4) continue;
      constexpr double kMedianToDeviation = 1.4826;  // of normals
      deviation =
          std::min(deviation, kMedianToDeviation * std::sqrt(scale) * median(sizes.data(), count));
    }
    noise[j] = std::max(6 * deviation, epsilon * largest);
  }
  if (noise.empty()) return noise;
  std::vector<double> sorted = noise;
  const double least = median(sorted.data(), static_cast<int>(sorted.size()));
  for (double& value : noise) value = std::max(value, least);
  return noise;
}

namespace {

struct Estimate {
  double value, error;
};

/// Puts t in a table's row behind the row before it, and returns the row's best: the one whose
/// neighbours differ least. Each extrapolation takes off a term of h to the power `first`,
/// `first` + 2, ...
Estimate extrapolate(double* row, int count, double t, int first) {
  Estimate best{t, kInfinity};
  double power = first == 1 ? 1 / kShorten : 1 / (kShorten * kShorten);
  for (int q = 0; q < count; ++q, power /= kShorten * kShorten) {
    const double before = row[q], better = t + (t - before) / (power - 1);
    const double error = std::max(std::abs(better - t), std::abs(better - before));
    if (error < best.error) best = {better, error};
    row[q] = t;
    t = better;
  }
  row[count] = t;
  return best;
}

}  // namespace

/// Forgets the steps before the one with these differences.
void Ridders::start_again(size_t j, double slope, double jump) {
  rows_[j] = 1;
  slopes_[j * width_] = slope;
  jumps_[j * width_] = jump;
  d_.value[j] = slope;
  d_.bound[j] = kInfinity;
}

void Ridders::add_step(double h, std::span<const double> at_0, std::span<const double> noise) {
  for (size_t j = 0; j < at_0.size(); ++j) {
    if (done_[j]) continue;
    if (h < shortest_constant_ && at_0[j] != 0 && plus_[j] == at_0[j] && minus_[j] == at_0[j]) {
      done_[j] = 1;  // the function is flat here, or rounded to coarser numbers than was seen
      continue;
    }
    const double rounding = noise[j] / h;
    const int row = rows_[j]++, columns = std::min(row, static_cast<int>(width_) - 1);
    const double central = (plus_[j] - minus_[j]) / (2 * h);
    const double value = d_.value[j], bound = d_.bound[j], before = slopes_[j * width_];
    // By more than unseen rounding could: by what shows beside all that f does along the line.
    range_[j] = std::max(range_[j], std::abs(plus_[j] - minus_[j]));
    const double off = std::abs(central - value);
    const bool refuted = row >= 2 && 2 * h * off > kShows * range_[j] &&
                         off - 2 * rounding > std::max(std::abs(before - value), bound);
    const Estimate slope = extrapolate(&slopes_[j * width_], columns, central, 2);
    if (slope.error + 2 * rounding < bound || row == 0) {
      d_.value[j] = slope.value;
      d_.bound[j] = slope.error + 2 * rounding;
    }
    const double above = (plus_[j] - at_0[j]) / h, below = (at_0[j] - minus_[j]) / h;
    const double jump = above - below, steepest = std::max(std::abs(above), std::abs(below));
    const Estimate left = extrapolate(&jumps_[j * width_], columns, jump, 1);
    d_.jump[j] = std::isfinite(left.error) ? std::abs(left.value) + left.error : std::abs(jump);
    const bool kink = std::abs(left.value) > 10 * (left.error + 8 * rounding) &&
                      std::abs(left.value) > 1e-9 * steepest;
    // Seen past: what straddled a kink tells nothing about the slope.
    if (refuted || (d_.kink[j] && !kink)) start_again(j, central, jump);
    d_.kink[j] = kink;
    since_kink_[j] = kink ? 0 : since_kink_[j] + 1;
    const bool apart = std::abs(jump) > 0.75 * std::abs(last_jump_[j]) &&
                       std::abs(jump) > 8 * rounding && std::abs(jump) > 1e-7 * steepest;
    apart_[j] = apart ? apart_[j] + 1 : 0;
    last_jump_[j] = jump;
  }
}

bool Ridders::all_done(double h, std::span<const double> noise, const RiddersOptions& options) {
  double sum = 0;
  for (double value : d_.value) sum += value * value;
  const double floor = 1e-3 * std::sqrt(sum / static_cast<double>(done_.size()));
  bool all = true;
  for (size_t j = 0; j < done_.size(); ++j) {
    if (done_[j]) continue;
    const bool small = d_.bound[j] <= options.target * std::max(std::abs(d_.value[j]), floor);
    const bool useless = 2 * noise[j] / h >= d_.bound[j];  // shorter steps only add rounding
    // Slopes that are apart may still meet at steps below the distance to a kink.
    done_[j] = rows_[j] >= options.least && (useless || (small && !d_.kink[j]));
    if (done_[j] && useless && apart_[j] >= 2) d_.kink[j] = 1;
    all = all && done_[j];
  }
  return all;
}

const Derivatives& Ridders::operator()(const Line& line, std::span<const double> at_0,
                                       std::span<const double> noise,
                                       const RiddersOptions& options) {
  const size_t n = at_0.size();
  shortest_constant_ = 0x1p-16 * options.step;
  width_ = std::min(static_cast<size_t>(options.levels), kColumns);
  d_.value.assign(n, 0);
  d_.bound.assign(n, kInfinity);
  d_.jump.assign(n, kInfinity);
  d_.kink.assign(n, 0);
  d_.evaluations = 0;
  plus_.resize(n);
  minus_.resize(n);
  slopes_.resize(n * width_);
  jumps_.resize(n * width_);
  last_jump_.assign(n, 0);
  range_.assign(n, 0);
  rows_.assign(n, 0);
  since_kink_.assign(n, 100);
  apart_.assign(n, 0);
  done_.assign(n, 0);
  double h = options.step;
  for (int level = 0; level < options.levels; ++level, h *= kShorten) {
    d_.evaluations += 2;
    if (!line(h, plus_) || !line(-h, minus_)) {
      rows_.assign(n, 0);
      continue;
    }
    add_step(h, at_0, noise);
    if (all_done(h, noise, options)) return d_;
  }
  // What the shortest steps still straddled, or a jump of the function itself; else nothing is
  // told.
  for (size_t j = 0; j < n; ++j) {
    if (done_[j]) continue;
    d_.kink[j] = since_kink_[j] < 6 || apart_[j] >= 2;
    d_.bound[j] = kInfinity;
  }
  return d_;
}

}  // namespace gradus::checking
