#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lab/study/verdicts.h"

namespace gradus::lab {

// What findings and figures say of rows.

/// A number as it was measured, for the functions below.
inline double plain(double value) { return value; }
/// The mean of values, one a seed, as paired(); of one seed the value alone, with 0 degrees of
/// freedom, and of none NaN.
Estimate estimate_of(const std::vector<double>& values);
/// The mean over the seeds of f(value), likewise.
Estimate mean_over_seeds(const Rows& rows, const Series& series, double (*f)(double) = plain);
/// The mean over the seeds that both have of f(a) - f(b), likewise.
Estimate mean_difference(const Rows& rows, const Series& a, const Series& b,
                         double (*f)(double) = plain);

/// The name of a net or of a norm in rows as readers know it: "CNN", "LN, a weight a channel".
std::string in_words(std::string_view name);

/// "97.1 [96.8, 97.4] %": 95 % intervals.
std::string percent(const Estimate& share);
/// "+1.2 [+0.8, +1.6] points", of a difference of shares.
std::string points(const Estimate& difference);
/// "0.12 [0.10, 0.15]", of the mean of logarithms.
std::string exponential(const Estimate& logarithm, double confidence = 0.95);

/// The same of values by seed.
Estimate mean_of(const std::map<uint64_t, double>& by_seed);

/// Logarithms of ratios by x and seed.
using LogRatios = std::map<double, std::map<uint64_t, double>>;
/// "; crosses 1 at g from 4.8 to 8", where a curve over x = g > 0 crosses 1, by the seeds that all
/// of its points have; of fewer than two seeds or points nothing.
std::string crossing_text(const LogRatios& ratios, const std::string& name, double confidence);

/// A line of gnuplot's data: x, f(mean) and the interval's ends, and a text to show on hover.
std::string data_line(double x, const Estimate& estimate, double (*f)(double),
                      const std::string& text, double confidence = 0.95);

/// The values of a series, of all seeds and items.
std::vector<double> values_of(const Rows& rows, const Series& series);
/// Of at least one value.
double median(std::vector<double> values);
double largest(const std::vector<double>& values);
/// "0.52 [0.31, 0.8]": median and range of at least one value.
std::string median_and_range(const std::vector<double>& values);

/// A line of a plot, whose points tell their values on hover.
struct Curve {
  std::string title;
  int colour;  ///< a linetype of the page's
  std::vector<std::pair<double, double>> points;
  bool dashed = false;  ///< what theory says
};
/// gnuplot's commands: these settings, then all curves in one plot.
std::string plot_of(const std::string& settings, const std::vector<Curve>& curves);

/// The medians of a series over x.
std::vector<std::pair<double, double>> medians(const Rows& rows, const Series& series);

}  // namespace gradus::lab
