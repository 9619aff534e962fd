#include "lab/study/figures.h"

#include <fmt/format.h>

#include <cmath>

namespace gradus::lab {

namespace {

double low(const Estimate& e) { return e.degrees > 0 ? e.low() : e.mean; }
double high(const Estimate& e) { return e.degrees > 0 ? e.high() : e.mean; }

template <class F>
std::string with_interval(const Estimate& e, const F& text) {
  if (e.degrees == 0) return text(e.mean);
  return fmt::format("{} [{}, {}]", text(e.mean), text(e.low()), text(e.high()));
}

}  // namespace

Estimate estimate_of(const std::vector<double>& values) {
  if (values.size() > 1) return paired(values);
  return {values.empty() ? std::nan("") : values[0], 0, 0};
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

std::string exponential(const Estimate& logarithm) {
  return with_interval(logarithm, [](double v) { return fmt::format("{:.3g}", std::exp(v)); });
}

std::string data_line(double x, const Estimate& e, double (*f)(double), const std::string& text) {
  return fmt::format("{} {} {} {} \"{}\"\n", x, f(e.mean), f(low(e)), f(high(e)), text);
}

}  // namespace gradus::lab
