#include "lab/study/plots.h"

#include <fmt/format.h>
#include <gradus/base/error.h>

#include <algorithm>
#include <map>

namespace gradus::lab {

namespace {

bool belongs(const Row& row, const Series& series) {
  const auto is = [](const std::string& name, const char* asked) {
    return *asked == '\0' || name == asked;
  };
  return is(row.part, series.part) && is(row.norm, series.norm) && is(row.cell, series.cell) &&
         is(row.quantity, series.quantity);
}

}  // namespace

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
  return fmt::format("{:.2g} [{:.2g}, {:.2g}]", median(values),
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
