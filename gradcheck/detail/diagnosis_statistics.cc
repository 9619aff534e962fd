#include <fmt/format.h>
#include <gradus/gradcheck/detail/residual.h>

#include <algorithm>

namespace gradus {

using checking::Residual;

namespace {

/// A vector over a group of entries: its parts along 1 and along x^, and what is left.
struct Split {
  double constant = 0, slope = 0;
  std::vector<double> rest;
};

/// A group of entries that were normalized together, perhaps.
struct Group {
  std::vector<size_t> entries;
  std::vector<double> xhat;  // of unit norm

  template <class Value>
  Split split(Value value) const {
    Split s;
    const double size = static_cast<double>(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      s.constant += value(entries[i]) / size;
      s.slope += value(entries[i]) * xhat[i];
    }
    for (size_t i = 0; i < entries.size(); ++i)
      s.rest.push_back(value(entries[i]) - s.constant - s.slope * xhat[i]);
    return s;
  }
};

/// The groups along some axes, without entries that never have a gradient (masked ones).
std::vector<Group> groups_of(const Residual& residual, unsigned axes) {
  const JacobianRows& j = residual.jacobian();
  const EntryGroups by = group_along(j.input, axes);
  std::vector<Group> groups(by.count);
  for (size_t k = 0; k < residual.entries(); ++k) {
    bool active = false;
    for (size_t r = 0; r < residual.rows() && !active; ++r)
      active = residual.known(r, k) && !residual.inactive(r, k);
    if (active) groups[by.of[k]].entries.push_back(k);
  }
  std::erase_if(groups, [](const Group& group) { return group.entries.empty(); });
  for (Group& group : groups) {
    double mean = 0, square = 0;
    for (size_t k : group.entries) mean += j.x[k] / static_cast<double>(group.entries.size());
    for (size_t k : group.entries) square += (j.x[k] - mean) * (j.x[k] - mean);
    for (size_t k : group.entries)
      group.xhat.push_back(square > 0 ? (j.x[k] - mean) / std::sqrt(square) : 0);
  }
  return groups;
}

/// Which explanations of the residual hold in every group and row.
struct Fit {
  bool sums_to_zero = true;  // the numeric gradient does, as behind any mean that is taken off
  bool can_tell = true;      // rows are known, to tolerances within which not everything fits
  bool constant = true, proportional = true, both = true;
  bool scaled = true;  // a - c n is made of 1 and x^, one c a group
};

void fit_group(const Residual& residual, const Group& group, Fit& fit) {
  std::vector<size_t> rows;
  for (size_t r = 0; r < residual.rows(); ++r)
    if (std::all_of(group.entries.begin(), group.entries.end(),
                    [&](size_t k) { return residual.known(r, k); }))
      rows.push_back(r);
  if (rows.empty()) fit.can_tell = false;
  std::vector<Split> analytic, numeric;
  double an = 0, nn = 0;
  for (size_t r : rows) {
    analytic.push_back(group.split([&](size_t k) { return residual.a(r, k); }));
    numeric.push_back(group.split([&](size_t k) { return residual.n(r, k); }));
    for (size_t i = 0; i < group.entries.size(); ++i) {
      an += analytic.back().rest[i] * numeric.back().rest[i];
      nn += numeric.back().rest[i] * numeric.back().rest[i];
    }
  }
  const double scale = nn > 0 ? an / nn : 1;
  for (size_t row = 0; row < rows.size(); ++row) {
    double sum = 0, size = 0, tolerance = 1e-6 * residual.largest_difference();
    for (size_t k : group.entries) {
      sum += residual.n(rows[row], k);
      size += std::abs(residual.n(rows[row], k));
      tolerance += residual.tolerance(rows[row], k);
    }
    if (std::abs(sum) > 1e-6 * size + tolerance) fit.sums_to_zero = false;
    if (tolerance > 0.1 * residual.largest_difference()) fit.can_tell = false;
    const Split &a = analytic[row], &n = numeric[row];
    const double constant = a.constant - n.constant, slope = a.slope - n.slope;
    for (size_t i = 0; i < group.entries.size(); ++i) {
      const double rest = a.rest[i] - n.rest[i];
      fit.both = fit.both && std::abs(rest) <= tolerance;
      fit.constant = fit.constant && std::abs(rest + slope * group.xhat[i]) <= tolerance;
      fit.proportional = fit.proportional && std::abs(rest + constant) <= tolerance;
      fit.scaled = fit.scaled && std::abs(a.rest[i] - scale * n.rest[i]) <= tolerance;
    }
  }
}

std::optional<Diagnosis> diagnose_along(const Residual& residual, unsigned axes) {
  const std::vector<Group> groups = groups_of(residual, axes);
  size_t smallest = groups.empty() ? 0 : groups[0].entries.size();
  Fit fit;
  for (const Group& group : groups) {
    smallest = std::min(smallest, group.entries.size());
    fit_group(residual, group, fit);
  }
  if (smallest < 3 || !fit.sums_to_zero || !fit.can_tell) return {};
  const Axes a = axes_of(axes);
  if (fit.constant)
    return Diagnosis{Pattern::mean_term,
                     fmt::format("a mean term that is missing or wrong: the residual is constant "
                                 "along axes {}",
                                 a)};
  if (fit.proportional)
    return Diagnosis{Pattern::variance_term,
                     fmt::format("a variance term that is missing or wrong: the residual is "
                                 "proportional to x^ along axes {}",
                                 a)};
  if (smallest >= 4 && fit.both)
    return Diagnosis{Pattern::constant_statistics,
                     fmt::format("statistics held constant: the residual is made of 1 and x^ along "
                                 "axes {}",
                                 a)};
  if (smallest >= 5 && fit.scaled)
    return Diagnosis{
        Pattern::stale_statistics,
        fmt::format("stale statistics: as if normalized along axes {} with other ones", a)};
  return {};
}

/// A residual that is the sum of a part constant along one axis and a part constant along another,
/// or one of the two: a mean where there is none.
std::optional<Diagnosis> diagnose_wrong_axis(const Residual& residual) {
  const Shape& shape = residual.jacobian().input;
  for (int p = 0; p < shape.ndim(); ++p)
    for (int q = p + 1; q < shape.ndim(); ++q) {
      if (shape[p] < 3 || shape[q] < 3) continue;
      const EntryGroups lines[] = {group_along(shape, 1u << p), group_along(shape, 1u << q),
                                   group_along(shape, 1u << p | 1u << q)};
      const double sizes[] = {static_cast<double>(shape[p]), static_cast<double>(shape[q]),
                              static_cast<double>(shape[p] * shape[q])};
      bool fits = true, constant[] = {true, true};
      for (size_t r = 0; r < residual.rows() && fits; ++r) {
        std::vector<double> means[3];
        double tolerance = 1e-6 * residual.largest_difference();
        for (int l = 0; l < 3; ++l) {
          means[l].resize(lines[l].count);
          for (size_t k = 0; k < residual.entries(); ++k)
            means[l][lines[l].of[k]] += (residual.a(r, k) - residual.n(r, k)) / sizes[l];
        }
        for (size_t k = 0; k < residual.entries(); ++k)
          if (residual.known(r, k)) tolerance = std::max(tolerance, 4 * residual.tolerance(r, k));
        for (size_t k = 0; k < residual.entries() && fits; ++k) {
          const double e = residual.a(r, k) - residual.n(r, k);
          const double parts[] = {e - means[0][lines[0].of[k]], e - means[1][lines[1].of[k]]};
          fits = std::abs(parts[0] + parts[1] - e + means[2][lines[2].of[k]]) <= tolerance;
          for (int l = 0; l < 2; ++l) constant[l] = constant[l] && std::abs(parts[l]) <= tolerance;
        }
      }
      for (int l = 0; l < 2 && fits; ++l) {
        const int axis = l == 0 ? p : q;
        if (constant[l])
          return Diagnosis{Pattern::mean_term,
                           fmt::format("a mean term that should not be there: the residual is "
                                       "constant along axis {}",
                                       axis)};
      }
      if (fits)
        return Diagnosis{Pattern::wrong_axis,
                         fmt::format("a mean along a wrong axis: the residual is a part constant "
                                     "along axis {} and one constant along axis {}",
                                     p, q)};
    }
  return {};
}

}  // namespace

std::optional<Diagnosis> diagnose_statistics(const Residual& residual) {
  if (residual.jacobian().x.size() != residual.entries()) return {};
  for (unsigned axes : axis_sets(residual.jacobian().input, 3))
    if (auto found = diagnose_along(residual, axes)) return found;
  return diagnose_wrong_axis(residual);
}

/// How many values the numeric derivatives by entry k have: through two goes every line.
static size_t distinct_values(const Residual& residual, const std::vector<size_t>& rows, size_t k) {
  std::vector<double> values;
  for (size_t r : rows) values.push_back(residual.n(r, k));
  std::sort(values.begin(), values.end());
  const double apart = 1e-6 * std::max(std::abs(values.front()), std::abs(values.back()));
  size_t count = 1;
  for (size_t i = 1; i < values.size(); ++i) count += values[i] - values[i - 1] > apart;
  return count;
}

/// A weight's gradient sum dy x^ with an x^ that is another linear function of x: for each entry
/// a = alpha n + beta over the outputs that it enters.
std::optional<Diagnosis> diagnose_weight_statistics(const Residual& residual) {
  if (!residual.has_single_rows()) return {};
  bool any = false;
  for (size_t k = 0; k < residual.entries(); ++k) {
    std::vector<size_t> rows;
    for (size_t r = 0; r < residual.rows(); ++r)
      if (residual.single(r) && residual.known(r, k) && !residual.inactive(r, k)) rows.push_back(r);
    if (rows.empty()) continue;
    if (distinct_values(residual, rows, k) < 4) return {};
    double mean_a = 0, mean_n = 0, nn = 0, an = 0, size = 0;
    for (size_t r : rows) {
      mean_a += residual.a(r, k) / static_cast<double>(rows.size());
      mean_n += residual.n(r, k) / static_cast<double>(rows.size());
    }
    for (size_t r : rows) {
      nn += (residual.n(r, k) - mean_n) * (residual.n(r, k) - mean_n);
      an += (residual.n(r, k) - mean_n) * residual.a(r, k);
      size += residual.n(r, k) * residual.n(r, k);
    }
    if (nn <= 1e-6 * size) return {};  // a bias: nothing to tell by
    const double alpha = an / nn, beta = mean_a - alpha * mean_n;
    for (size_t r : rows)
      if (!residual.close(residual.a(r, k), alpha * residual.n(r, k) + beta,
                          residual.tolerance(r, k)))
        return {};
    any = any || residual.wrong(k);
  }
  if (!any) return {};
  return Diagnosis{Pattern::stale_statistics,
                   "stale statistics: each entry's gradient is a linear function of the right one, "
                   "as with an x^ by other ones"};
}

}  // namespace gradus
