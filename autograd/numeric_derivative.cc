#include <gradus/autograd/numeric_derivative.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace gradus {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}

std::vector<double> rounding_noise(std::span<const std::vector<double>> points, double epsilon) {
  std::vector<double> noise(points[0].size());
  for (size_t j = 0; j < noise.size(); ++j) {
    std::array<double, kNoisePoints> differences;
    double largest = 0;
    for (size_t k = 0; k < kNoisePoints; ++k) {
      differences[k] = points[k][j];
      largest = std::max(largest, std::abs(differences[k]));
    }
    double variance = 0, scale = 1;  // scale: (k!)^2 / (2k)!
    for (size_t k = 1; k <= 7; ++k) {
      const size_t count = kNoisePoints - k;
      double sum = 0;
      for (size_t i = 0; i < count; ++i) {
        differences[i] = differences[i + 1] - differences[i];
        sum += differences[i] * differences[i];
      }
      scale *= static_cast<double>(k) / static_cast<double>(2 * (2 * k - 1));
      if (k >= 3) variance = std::max(variance, scale * sum / static_cast<double>(count));
    }
    noise[j] = std::max(4 * std::sqrt(variance), epsilon * largest);
  }
  std::vector<double> sorted = noise;
  const auto middle = sorted.begin() + static_cast<int64_t>(sorted.size() / 2);
  if (!sorted.empty()) std::nth_element(sorted.begin(), middle, sorted.end());
  for (double& value : noise) value = std::max(value, *middle);
  return noise;
}

/// Enters the differences over h as the table's next row; whether every function is done.
bool Ridders::add_level(int row, double h, std::span<const double> at_0,
                        std::span<const double> noise) {
  const size_t n = at_0.size(), width = static_cast<size_t>(options_.levels);
  for (size_t j = 0; j < n; ++j) {
    if (done_[j]) continue;
    double* table = &table_[j * width];  // the row before, replaced from the left
    const double rounding = noise[j] / h;
    double t = (plus_[j] - minus_[j]) / (2 * h), power = 1;
    for (int q = 0; q < row; ++q) {
      power *= 4;
      const double before = table[q], extrapolated = t + (t - before) / (power - 1);
      const double error =
          std::max(std::abs(extrapolated - t), std::abs(extrapolated - before)) + 2 * rounding;
      if (error < d_.bound[j]) {
        d_.bound[j] = error;
        d_.value[j] = extrapolated;
      }
      table[q] = t;
      t = extrapolated;
    }
    table[row] = t;
    if (row == 0 && d_.bound[j] == kInfinity) d_.value[j] = t;

    // The slopes of a smooth function approach each other as h does; across a kink they do not.
    d_.above[j] = (plus_[j] - at_0[j]) / h;
    d_.below[j] = (at_0[j] - minus_[j]) / h;
    const double jump = std::abs(d_.above[j] - d_.below[j]),
                 slope = std::max(std::abs(d_.above[j]), std::abs(d_.below[j]));
    const bool apart =
        row > 0 && jump > 0.75 * jump_[j] && jump > 8 * rounding && jump > 1e-7 * slope;
    jump_[j] = jump;
    streak_[j] = apart ? streak_[j] + 1 : 0;
    if (streak_[j] >= 2) kink_level_[j] = row;
  }
  double sum = 0;
  for (double value : d_.value) sum += value * value;
  const double floor = 1e-3 * std::sqrt(sum / static_cast<double>(n));
  bool all = true;
  for (size_t j = 0; j < n; ++j) {
    if (done_[j]) continue;
    const bool small = d_.bound[j] <= options_.target * std::max(std::abs(d_.value[j]), floor);
    const bool useless = 2 * noise[j] / h >= d_.bound[j];  // shorter steps only add rounding
    // Slopes that stay apart may still meet below the distance to a kink.
    done_[j] = row > 0 && ((small && streak_[j] == 0) || (useless && streak_[j] != 1));
    d_.kink[j] = streak_[j] >= 2;
    all = all && done_[j];
  }
  return all;
}

const Derivatives& Ridders::operator()(const Line& line, std::span<const double> at_0,
                                       std::span<const double> noise) {
  const size_t n = at_0.size();
  d_.value.assign(n, 0);
  d_.bound.assign(n, kInfinity);
  d_.below.assign(n, 0);
  d_.above.assign(n, 0);
  d_.kink.assign(n, 0);
  d_.evaluations = 0;
  plus_.resize(n);
  minus_.resize(n);
  table_.resize(n * static_cast<size_t>(options_.levels));
  jump_.assign(n, 0);
  streak_.assign(n, 0);
  kink_level_.assign(n, -1);
  done_.assign(n, 0);
  double h = options_.step;
  int row = 0;
  for (int level = 0; level < options_.levels; ++level, h /= 2) {
    d_.evaluations += 2;
    const bool finite = line(h, plus_) && line(-h, minus_);
    if (!finite) {
      row = 0;
      continue;
    }
    if (add_level(row++, h, at_0, noise)) return d_;
  }
  // A kink that the last few steps still straddled is too near to see past it.
  for (size_t j = 0; j < n; ++j)
    if (!done_[j] && kink_level_[j] >= row - 6 && kink_level_[j] >= 0) d_.kink[j] = 1;
  return d_;
}

std::vector<double> central_difference(const Line& line, size_t functions, double h) {
  std::vector<double> plus(functions), minus(functions);
  line(h, plus);
  line(-h, minus);
  for (size_t j = 0; j < functions; ++j) plus[j] = (plus[j] - minus[j]) / (2 * h);
  return plus;
}

}  // namespace gradus
