#include "lab/study/figures.h"

#include <fmt/format.h>
#include <gradus/base/error.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace gradus::lab {

namespace {

template <class F>
std::string with_interval(const Estimate& e, const F& text, double confidence = 0.95) {
  if (e.degrees == 0) return text(e.mean);
  return fmt::format("{} [{}, {}]", text(e.mean), text(e.low(confidence)),
                     text(e.high(confidence)));
}

}  // namespace

std::string in_words(std::string_view name) {
  constexpr std::pair<std::string_view, const char*> kWords[] = {
      {"cnn", "CNN"},      {"mlp", "MLP"},
      {"rnn", "RNN"},      {"batch", "BN"},
      {"layer", "LN"},     {"layer_channel", "LN, a weight a channel"},
      {"none", "no norm"}, {"batch per step", "BN of each step"}};
  for (const auto& [of_rows, words] : kWords)
    if (name == of_rows) return words;
  return std::string(name);
}

Estimate estimate_of(const std::vector<double>& values) {
  if (values.size() > 1) return paired(values);
  return {values.empty() ? std::nan("") : values[0], 0, 0};
}

Estimate mean_of(const std::map<uint64_t, double>& by_seed) {
  std::vector<double> values;
  for (const auto& [seed, value] : by_seed) values.push_back(value);
  return estimate_of(values);
}

Estimate mean_over_seeds(const Rows& rows, const Series& series, double (*f)(double)) {
  std::vector<double> values;
  for (const auto& [seed, value] : by_seed(rows, series)) values.push_back(f(value));
  return estimate_of(values);
}

Estimate mean_difference(const Rows& rows, const Series& a, const Series& b, double (*f)(double)) {
  const auto others = by_seed(rows, b);
  std::vector<double> values;
  for (const auto& [seed, value] : by_seed(rows, a))
    if (const auto other = others.find(seed); other != others.end())
      values.push_back(f(value) - f(other->second));
  return estimate_of(values);
}

std::string percent(const Estimate& share) {
  return with_interval(share, [](double v) { return fmt::format("{:.1f}", 100 * v); }) + " %";
}

std::string points(const Estimate& difference) {
  return with_interval(difference, [](double v) { return fmt::format("{:+.1f}", 100 * v); }) +
         " points";
}

std::string exponential(const Estimate& logarithm, double confidence) {
  return with_interval(
      logarithm, [](double v) { return fmt::format("{:.3g}", std::exp(v)); }, confidence);
}

std::string crossing_text(const LogRatios& ratios, const std::string& name, double confidence) {
  std::vector<double> x;
  std::map<uint64_t, std::vector<double>> of_seed;
  for (const auto& [g, values] : ratios) {
    x.push_back(std::log2(g));
    for (const auto& [seed, value] : values) of_seed[seed].push_back(value);
  }
  std::vector<std::vector<double>> d;
  for (const auto& [seed, values] : of_seed)
    if (values.size() == x.size()) d.push_back(values);
  if (d.size() < 2 || x.size() < 2) return "";
  const Crossing c = crossing(x, d, confidence);
  if (!c.found)
    return "; whether it crosses 1 is open: of the intervals for all cells at once no two exclude "
           "1 with opposite signs";
  return fmt::format("; crosses 1 at {} from {:.1f} to {:.1f}", name, std::exp2(c.low),
                     std::exp2(c.high));
}

std::string data_line(double x, const Estimate& e, double (*f)(double), const std::string& text,
                      double confidence) {
  const bool alone = e.degrees == 0;
  return fmt::format("{} {} {} {} \"{}\"\n", x, f(e.mean), f(alone ? e.mean : e.low(confidence)),
                     f(alone ? e.mean : e.high(confidence)), text);
}

std::vector<double> values_of(const Rows& rows, const Series& series) {
  std::vector<double> values;
  for (const Row& row : rows)
    if (belongs(row, series)) values.push_back(row.value);
  return values;
}

double median(std::vector<double> values) {
  check(!values.empty(), "lab: the median of no values");
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double largest(const std::vector<double>& values) {
  check(!values.empty(), "lab: the largest of no values");
  return *std::max_element(values.begin(), values.end());
}

std::string median_and_range(const std::vector<double>& values) {
  return fmt::format("{:.3g} [{:.3g}, {:.3g}]", median(values),
                     *std::min_element(values.begin(), values.end()), largest(values));
}

std::string plot_of(const std::string& settings, const std::vector<Curve>& curves) {
  std::string blocks, plots;
  for (size_t i = 0; i < curves.size(); ++i) {
    const Curve& curve = curves[i];
    blocks += fmt::format("$curve{} << END\n", i);
    for (const auto& [x, y] : curve.points)
      blocks += fmt::format("{} {} \"{}: {:.3g} at {:.4g}\"\n", x, y, curve.title, y, x);
    blocks += "END\n";
    plots += fmt::format("{}$curve{} using 1:2 with lines lt {}{} title \"{}\"", i ? ", " : "", i,
                         curve.colour, curve.dashed ? " dt 2" : "", curve.title);
    plots +=
        fmt::format(", $curve{} using 1:2:3 with labels hypertext point pt 7 ps .6 lt {} notitle",
                    i, curve.colour);
  }
  return fmt::format("{}{}plot {}\n", blocks, settings, plots);
}

std::vector<std::pair<double, double>> medians(const Rows& rows, const Series& series) {
  std::map<double, std::vector<double>> by_x;
  for (const Row& row : rows)
    if (belongs(row, series)) by_x[row.x].push_back(row.value);
  std::vector<std::pair<double, double>> points;
  for (const auto& [x, values] : by_x) points.emplace_back(x, median(values));
  return points;
}

}  // namespace gradus::lab
