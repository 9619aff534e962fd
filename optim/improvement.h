#pragma once
#include <limits>

namespace gradus {

/// Which of two metrics is better.
enum class Better {
  lower,  ///< as of losses
  higher  ///< as of accuracies
};

/// When a metric counts as better than the best so far; a NaN never does.
struct Improvement {
  Better better = Better::lower;  ///< which of two is better
  double threshold = 0;           ///< by more than so much
  bool relative = false;  ///< whether the threshold is a share of the best, as rel in PyTorch

  /// What every number is better than.
  double worst() const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return better == Better::lower ? infinity : -infinity;
  }
  /// Whether `metric` is better than `best`.
  bool operator()(double metric, double best) const {
    const double sign = better == Better::lower ? -1 : 1;
    return sign * metric >
           sign * (relative ? best * (1 + sign * threshold) : best + sign * threshold);
  }
};

}  // namespace gradus
