#pragma once
#include <string>

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

/// "97.1 [96.8, 97.4] %": 95 % intervals.
std::string percent(const Estimate& share);
/// "+1.2 [+0.8, +1.6] points", of a difference of shares.
std::string points(const Estimate& difference);
/// "0.12 [0.10, 0.15]", of the mean of logarithms.
std::string exponential(const Estimate& logarithm);

/// A line of gnuplot's data: x, f(mean) and the interval's ends, and a text to show on hover.
std::string data_line(double x, const Estimate& estimate, double (*f)(double),
                      const std::string& text);

}  // namespace gradus::lab
