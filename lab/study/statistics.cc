#include "lab/study/statistics.h"

#include <gradus/base/error.h>

#include <algorithm>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

namespace gradus::lab {

namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// The variance, by n - 1.
double variance_of(std::span<const double> values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size() - 1);
}

void check_several(const char* what, size_t count) {
  check(count > 1, "{}: {} values; a spread needs two", what, count);
}

}  // namespace

double student_t_quantile(double probability, double degrees) {
  return boost::math::quantile(boost::math::students_t(degrees), probability);
}

double Estimate::low(double confidence) const {
  return mean - student_t_quantile(0.5 + confidence / 2, degrees) * standard_error;
}

double Estimate::high(double confidence) const {
  return mean + student_t_quantile(0.5 + confidence / 2, degrees) * standard_error;
}

double Estimate::p_value() const {
  if (standard_error == 0) return mean == 0 ? 1 : 0;
  const double t = std::abs(mean / standard_error);
  return 2 * boost::math::cdf(boost::math::complement(boost::math::students_t(degrees), t));
}

Estimate paired(std::span<const double> differences) {
  check_several("paired", differences.size());
  const auto n = static_cast<double>(differences.size());
  return {mean_of(differences), std::sqrt(variance_of(differences) / n), n - 1};
}

namespace {

struct MeanSquares {
  double seeds, items, rest;
};

/// Of a two-way layout without replication.
MeanSquares mean_squares(std::span<const double> d, int64_t seeds, int64_t items) {
  check(seeds > 1 && items > 1 && static_cast<int64_t>(d.size()) == seeds * items,
        "two_way: {} values for {} seeds and {} items, of each of which it needs two", d.size(),
        seeds, items);
  const auto n = static_cast<double>(seeds), m = static_cast<double>(items);
  const double mean = mean_of(d);
  std::vector<double> of_seed(static_cast<size_t>(seeds)), of_item(static_cast<size_t>(items));
  for (size_t s = 0; s < of_seed.size(); ++s)
    for (size_t i = 0; i < of_item.size(); ++i) {
      const double value = d[s * of_item.size() + i];
      of_seed[s] += value / m;
      of_item[i] += value / n;
    }
  double rest = 0;
  for (size_t s = 0; s < of_seed.size(); ++s)
    for (size_t i = 0; i < of_item.size(); ++i) {
      const double value = d[s * of_item.size() + i] - of_seed[s] - of_item[i] + mean;
      rest += value * value;
    }
  return {m * variance_of(of_seed), n * variance_of(of_item), rest / ((n - 1) * (m - 1))};
}

Estimate from_mean_squares(double mean, const MeanSquares& ms, double n, double m) {
  const double sum = ms.seeds + ms.items - ms.rest;
  const auto squared_over = [](double value, double degrees) { return value * value / degrees; };
  if (sum >= std::max(ms.seeds, ms.items) && sum > 0) {
    const double degrees = sum * sum /
                           (squared_over(ms.seeds, n - 1) + squared_over(ms.items, m - 1) +
                            squared_over(ms.rest, (n - 1) * (m - 1)));
    return {mean, std::sqrt(sum / (n * m)), degrees};
  }
  const bool by_seed = ms.seeds >= ms.items;
  return {mean, std::sqrt(std::max(ms.seeds, ms.items) / (n * m)), by_seed ? n - 1 : m - 1};
}

}  // namespace

Estimate two_way(std::span<const double> d, int64_t seeds, int64_t items) {
  const MeanSquares ms = mean_squares(d, seeds, items);
  return from_mean_squares(mean_of(d), ms, static_cast<double>(seeds), static_cast<double>(items));
}

Components components(std::span<const double> differences) {
  check_several("components", differences.size());
  return {variance_of(differences), 0, 0};
}

Components components(std::span<const double> d, int64_t seeds, int64_t items) {
  const MeanSquares ms = mean_squares(d, seeds, items);
  const auto part = [&](double square, int64_t of) {
    return std::max(0.0, (square - ms.rest) / static_cast<double>(of));
  };
  return {part(ms.seeds, items), part(ms.items, seeds), ms.rest};
}

Estimate expected(double mean, const Components& c, int64_t seeds, int64_t items) {
  const auto n = static_cast<double>(seeds), m = static_cast<double>(items);
  if (items == 0) return {mean, std::sqrt(c.seeds / n), n - 1};
  return from_mean_squares(mean, {m * c.seeds + c.rest, n * c.items + c.rest, c.rest}, n, m);
}

double power(double effect, const Components& components, int64_t seeds, int64_t items,
             double alpha) {
  const Estimate e = expected(effect, components, seeds, items);
  if (e.standard_error == 0) return effect == 0 ? 0 : 1;
  const double shift = std::abs(effect) / e.standard_error;
  const double critical = student_t_quantile(1 - alpha / 2, e.degrees);
  if (shift > critical + 30) return 1;  // where Boost's series ends
  const boost::math::non_central_t t(e.degrees, shift);
  return boost::math::cdf(boost::math::complement(t, critical)) + boost::math::cdf(t, -critical);
}

int64_t seeds_needed(double effect, const Components& components, int64_t items, double alpha,
                     double wanted) {
  for (int64_t n = 2; n <= kMostSeeds; ++n)
    if (power(effect, components, n, items, alpha) >= wanted) return n;
  return 0;
}

Estimate resampled(std::span<const double> differences, double n_train, double n_test) {
  check_several("resampled", differences.size());
  check(n_train > 0 && n_test > 0, "resampled: {} items to train, {} to test", n_train, n_test);
  const auto n = static_cast<double>(differences.size());
  return {mean_of(differences), std::sqrt(variance_of(differences) * (1 / n + n_test / n_train)),
          n - 1};
}

double simultaneous(size_t intervals) {
  return 1 - 0.05 / static_cast<double>(std::max<size_t>(1, intervals));
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, static_cast<double>(p.size() - rank) * p[order[rank]]);
    adjusted[order[rank]] = std::min(1.0, largest);
  }
  return adjusted;
}

bool equivalent(const Estimate& estimate, double margin) {
  return estimate.low(0.9) > -margin && estimate.high(0.9) < margin;
}

double relative_difference(std::span<const double> a, std::span<const double> b) {
  check(a.size() == b.size(), "relative_difference: {} and {} values", a.size(), b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i] - b[i])) return HUGE_VAL;
    difference = std::max(difference, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return difference / size;
}

double slope(std::span<const double> x, std::span<const double> y) {
  check(x.size() == y.size() && x.size() > 1, "slope: {} x and {} y", x.size(), y.size());
  const double mean_x = mean_of(x), mean_y = mean_of(y);
  double xy = 0, xx = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    xx += (x[i] - mean_x) * (x[i] - mean_x);
  }
  check(xx > 0, "slope: all x are equal");
  return xy / xx;
}

Crossing crossing(std::span<const double> x, const std::vector<std::vector<double>>& d,
                  double confidence) {
  for (const auto& seed : d)
    check(seed.size() == x.size(), "crossing: {} values for {} x", seed.size(), x.size());
  const auto at = [&](size_t k, double part) {  // between points k and k + 1
    std::vector<double> values;
    for (const auto& seed : d)
      values.push_back(part == 0 ? seed[k] : (1 - part) * seed[k] + part * seed[k + 1]);
    return paired(values);
  };
  const auto sign = [&](const Estimate& e) {
    return e.low(confidence) > 0 ? 1 : e.high(confidence) < 0 ? -1 : 0;
  };
  size_t from = 0;
  int before = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    const int now = sign(at(k, 0));
    if (now == 0) continue;
    if (before == -now) {
      Crossing result{true, HUGE_VAL, -HUGE_VAL};
      constexpr int kSteps = 1024;
      for (size_t j = from; j < k; ++j)
        for (int step = 0; step <= kSteps; ++step) {
          const double part = static_cast<double>(step) / kSteps;
          const int here = sign(part == 1 ? at(j + 1, 0) : at(j, part));
          if (here == before || (here == now && result.low <= result.high)) continue;
          const double place = x[j] + part * (x[j + 1] - x[j]);
          result.low = std::min(result.low, place);
          result.high = std::max(result.high, place);
        }
      return result;
    }
    before = now;
    from = k;
  }
  return {};
}

}  // namespace gradus::lab
