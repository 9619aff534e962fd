#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace gradus::lab {

/// A mean with what it is known to: Student's t with these degrees of freedom.
struct Estimate {
  double mean = 0, standard_error = 0, degrees = 0;
  /// The two-sided interval that covers the truth in this share of all studies.
  double low(double confidence = 0.95) const;
  double high(double confidence = 0.95) const;
  /// Of the hypothesis that the truth is 0, two-sided. Without spread: 1 for a mean of 0, else 0.
  double p_value() const;
};

/// The quantile of Student's t.
double student_t_quantile(double probability, double degrees);

/// The mean of differences within pairs, one a seed: for new seeds, and the same items.
/// At least two values.
Estimate paired(std::span<const double> differences);

/// The mean of d (seeds, items), row-major, for new seeds and new items: the variance of the mean
/// in a two-way layout without replication,
///
/// se^2 = max(MS_s + MS_i - MS_si, MS_s, MS_i) / (seeds items),
///
/// with Satterthwaite's degrees of freedom (Satterthwaite 1946). At least two of each.
Estimate two_way(std::span<const double> d, int64_t seeds, int64_t items);

/// The mean of differences over redrawn splits into n_train and n_test items, which overlap: the
/// variance is multiplied by 1/n + n_test/n_train for 1/n (Nadeau & Bengio 2003).
Estimate resampled(std::span<const double> differences, double n_train, double n_test);

/// The confidence at which so many intervals cover all at once with 95 %, by Bonferroni.
double simultaneous(size_t intervals);

/// Holm's adjusted p-values (Holm 1979), in the order given.
std::vector<double> holm(std::span<const double> p);

/// Whether the truth lies within (-margin, margin): two one-sided tests at 5 %, which is the 90 %
/// interval inside (Schuirmann 1987).
bool equivalent(const Estimate& estimate, double margin);

/// What makes differences between runs vary: the variances over seeds, over items, and of what is
/// neither, so that the mean over n seeds and m items has the variance
///
/// seeds / n + items / m + rest / (n m).
struct Components {
  double seeds = 0, items = 0, rest = 0;
};
/// Of differences in pairs: that over the seeds alone.
Components components(std::span<const double> differences);
/// Of d as in two_way(), by the expected mean squares (Searle, Casella & McCulloch 1992, section
/// 4.3), where they give less than 0, 0.
Components components(std::span<const double> d, int64_t seeds, int64_t items);
/// What two_way(), or paired() without items, comes to with these seeds where its mean squares are
/// as expected.
Estimate expected(double mean, const Components& components, int64_t seeds, int64_t items);

/// The probability that a two-sided test of level alpha sees `effect`: by the noncentral t whose
/// shift and degrees are those of expected().
double power(double effect, const Components& components, int64_t seeds, int64_t items,
             double alpha);
constexpr int64_t kMostSeeds = 1000;
/// The least number of seeds with this power; 0 where kMostSeeds do not suffice, which may be
/// because of the items.
int64_t seeds_needed(double effect, const Components& components, int64_t items, double alpha,
                     double power);

/// The largest |a - b|, of the largest |b|; infinite where a difference is no number.
double relative_difference(std::span<const double> a, std::span<const double> b);

/// The slope of y over x by least squares.
double slope(std::span<const double> x, std::span<const double> y);

/// Where a difference that is known at several x changes its sign.
struct Crossing {
  bool found = false;        ///< between points whose intervals exclude 0 with opposite signs
  double low = 0, high = 0;  ///< all x between them at which the interval covers 0
};
/// d: a row a seed, a value for each x; between x the seeds' values are interpolated. Never beyond
/// the x that are given.
Crossing crossing(std::span<const double> x, const std::vector<std::vector<double>>& d,
                  double confidence = 0.95);

}  // namespace gradus::lab
