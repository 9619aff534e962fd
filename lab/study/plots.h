#pragma once
#include <string>
#include <utility>
#include <vector>

#include "lab/study/verdicts.h"

namespace gradus::lab {

/// The values of a series, of all seeds and items; an empty name in it stands for any.
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
