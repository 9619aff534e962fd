#pragma once
#include <gradus/layers/rnn_cell.h>

#include <algorithm>

namespace gradus::detail {

/// No norms, one for all steps, or one for each of the first `steps`.
inline std::vector<AnyNorm> make_norms(const char* what, const MakeNorm& make, int64_t features,
                                       int64_t steps) {
  constexpr int64_t kMostNorms = 1 << 16;
  check(steps <= kMostNorms, "{}: norms for {} steps; at most {}", what, steps, kMostNorms);
  std::vector<AnyNorm> norms;
  const int64_t count = make ? std::max<int64_t>(1, steps) : 0;
  for (int64_t t = 0; t < count; ++t) norms.push_back(make(features));
  return norms;
}

/// Of several norms the last serves all later steps.
inline AnyNorm& norm_of_step(std::vector<AnyNorm>& norms, size_t t) {
  return norms[std::min(t, norms.size() - 1)];
}

inline void visit_norms(Visitor& visitor, std::vector<AnyNorm>& norms, const std::string& called) {
  for (size_t t = 0; t < norms.size(); ++t)
    visitor.module(norms.size() == 1 ? called : fmt::format("{}.{}", called, t), *norms[t]);
}

}  // namespace gradus::detail
