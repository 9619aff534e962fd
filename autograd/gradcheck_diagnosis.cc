#include <fmt/format.h>
#include <gradus/autograd/gradcheck_diagnosis.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace gradus {

const char* name(Pattern pattern) {
  switch (pattern) {
    case Pattern::none:
      return "none";
    case Pattern::no_gradient:
      return "no gradient";
    case Pattern::factor:
      return "factor";
    case Pattern::factor_per_group:
      return "factor per group";
    case Pattern::transposition:
      return "transposition";
    case Pattern::swapped_inputs:
      return "swapped inputs";
    case Pattern::shift:
      return "shift";
    case Pattern::mask_not_applied:
      return "mask not applied";
    case Pattern::entries_missing:
      return "entries missing";
    case Pattern::broadcast_unreduced:
      return "broadcast not reduced";
    case Pattern::overwritten:
      return "overwritten";
    case Pattern::mean_term:
      return "mean term";
    case Pattern::variance_term:
      return "variance term";
    case Pattern::constant_statistics:
      return "statistics held constant";
    case Pattern::stale_statistics:
      return "stale statistics";
  }
  return "";
}

namespace {

using Index = std::vector<int64_t>;

Index strides_of(const Shape& shape) {
  Index strides(static_cast<size_t>(shape.ndim()), 1);
  for (int i = shape.ndim() - 1; i > 0; --i)
    strides[static_cast<size_t>(i - 1)] = strides[static_cast<size_t>(i)] * shape[i];
  return strides;
}

/// The position of element k along an axis.
int64_t along(int64_t k, int axis, const Shape& shape, const Index& strides) {
  return k / strides[static_cast<size_t>(axis)] % shape[axis];
}

/// Which group each entry belongs to if those that differ along `axes` alone are one group.
struct Groups {
  std::vector<size_t> of;
  size_t count = 0;
  int64_t size = 1;
};

Groups group_along(const Shape& shape, unsigned axes) {
  Groups groups;
  groups.of.resize(static_cast<size_t>(shape.numel()));
  const Index strides = strides_of(shape);
  for (int i = 0; i < shape.ndim(); ++i)
    if (axes >> i & 1) groups.size *= shape[i];
  groups.count = groups.of.size() / static_cast<size_t>(groups.size);
  for (size_t k = 0; k < groups.of.size(); ++k) {
    int64_t group = 0;
    for (int i = 0; i < shape.ndim(); ++i)
      if (!(axes >> i & 1))
        group = group * shape[i] + along(static_cast<int64_t>(k), i, shape, strides);
    groups.of[k] = static_cast<size_t>(group);
  }
  return groups;
}

Axes axes_of(unsigned bits) {
  Axes axes;
  for (int i = 0; i < Shape::kMaxDims; ++i)
    if (bits >> i & 1) axes.push_back(i);
  return axes;
}

std::string number(double value) { return fmt::format("{:.7g}", value); }

class Diagnoser {
 public:
  explicit Diagnoser(const JacobianRows& j)
      : j_(j),
        rows_(j.rows.size()),
        n_(static_cast<size_t>(j.input.numel())),
        input_strides_(strides_of(j.input)),
        output_strides_(strides_of(j.output)) {
    const size_t outputs = static_cast<size_t>(j.output.numel());
    row_of_.assign(outputs, -1);
    wrong_.assign(n_, 0);
    for (size_t r = 0; r < rows_; ++r) {
      if (j.rows[r] >= 0) {
        row_of_[static_cast<size_t>(j.rows[r])] = static_cast<int64_t>(r);
        has_single_rows_ = true;
      }
      for (size_t k = 0; k < n_; ++k) {
        if (!known(r, k)) continue;
        const double e = std::abs(a(r, k) - n(r, k));
        if (!(e <= t(r, k))) wrong_[k] = 1;
        if (e > largest_) largest_ = e;
      }
    }
  }

  Diagnosis run() const {
    if (std::none_of(wrong_.begin(), wrong_.end(), [](auto w) { return w; })) return {};
    if (!std::isfinite(largest_)) return {};
    for (auto pattern : {&Diagnoser::no_gradient, &Diagnoser::factor, &Diagnoser::transposed_input,
                         &Diagnoser::transposed_output, &Diagnoser::right_or_zero, &Diagnoser::leak,
                         &Diagnoser::shift, &Diagnoser::factor_per_group, &Diagnoser::statistics,
                         &Diagnoser::other_statistics})
      if (std::optional<Diagnosis> found = (this->*pattern)()) return *found;
    return {};
  }

 private:
  double a(size_t r, size_t k) const { return j_.analytic[r * n_ + k]; }
  double n(size_t r, size_t k) const { return j_.numeric[r * n_ + k]; }
  double t(size_t r, size_t k) const { return j_.tolerance[r * n_ + k]; }
  bool known(size_t r, size_t k) const { return std::isfinite(t(r, k)); }
  bool single(size_t r) const { return j_.rows[r] >= 0; }
  bool close(double x, double y, double tolerance) const {
    return std::abs(x - y) <= tolerance + 1e-6 * largest_;
  }
  bool zero(double x, size_t r, size_t k) const { return std::abs(x) <= t(r, k); }

  /// Whether model(r, k) is the analytic derivative in all rows that `use` takes.
  template <class Model, class Use>
  bool explains(Model model, Use use) const {
    bool any = false;
    for (size_t r = 0; r < rows_; ++r) {
      if (!use(r)) continue;
      for (size_t k = 0; k < n_; ++k) {
        if (!known(r, k)) continue;
        const std::optional<double> expected = model(r, k);
        if (expected && !close(a(r, k), *expected, t(r, k))) return false;
        any = any || (expected && !zero(*expected, r, k));
      }
    }
    return any;
  }
  static bool every_row(size_t) { return true; }

  std::optional<Diagnosis> no_gradient() const {
    for (double value : j_.analytic)
      if (value != 0) return {};
    return Diagnosis{Pattern::no_gradient,
                     0,
                     {},
                     "an input without any gradient: it is 0, but the function depends on it"};
  }

  /// A name for a number that wrong factors often are.
  std::optional<std::string> factor_name(double c, double tolerance) const {
    const auto is = [&](double value) { return std::abs(c - value) <= tolerance; };
    if (is(-1)) return "-1: the sign";
    for (int i = 2; i <= 4; ++i) {
      if (is(i)) return fmt::format("{}", i);
      if (is(1.0 / i)) return fmt::format("1/{}", i);
    }
    std::set<int64_t> sizes;
    for (const Shape* shape : {&j_.input, &j_.output})
      for (unsigned axes = 1; axes < 1u << shape->ndim(); ++axes) {
        int64_t size = 1;
        for (int i = 0; i < shape->ndim(); ++i)
          if (axes >> i & 1) size *= (*shape)[i];
        if (size > 1) sizes.insert(size);
      }
    for (int64_t size : sizes) {
      const double N = static_cast<double>(size);
      const std::pair<double, const char*> candidates[] = {
          {N, "N"},
          {1 / N, "1/N"},
          {N / (N - 1), "N/(N-1)"},
          {(N - 1) / N, "(N-1)/N"},
          {std::sqrt(N), "sqrt(N)"},
          {1 / std::sqrt(N), "1/sqrt(N)"},
          {std::sqrt(N / (N - 1)), "sqrt(N/(N-1))"},
          {std::sqrt((N - 1) / N), "sqrt((N-1)/N)"}};
      for (const auto& [value, text] : candidates) {
        if (is(value)) return fmt::format("{} = {}, N = {}", number(c), text, size);
        if (is(-value)) return fmt::format("{} = -{}, N = {}", number(c), text, size);
      }
    }
    return {};
  }

  /// c with A = c N over the entries that disagree; all others agree.
  std::optional<Diagnosis> factor() const {
    double an = 0, nn = 0, accuracy = 0;
    int64_t count = 0;
    for (size_t r = 0; r < rows_; ++r)
      for (size_t k = 0; k < n_; ++k)
        if (wrong_[k] && known(r, k)) {
          an += a(r, k) * n(r, k);
          nn += n(r, k) * n(r, k);
          accuracy = std::max(accuracy, t(r, k));
          count += !zero(n(r, k), r, k);
        }
    if (nn == 0) return {};
    const double c = an / nn;
    const auto model = [&](size_t r, size_t k) -> std::optional<double> {
      return wrong_[k] ? c * n(r, k) : n(r, k);
    };
    if (std::abs(c) < 1e-6 || !explains(model, every_row)) return {};
    const auto known_as = factor_name(c, 1e-7 + 10 * accuracy / std::sqrt(nn));
    if (!known_as && count < 3) return {};
    const bool all = std::count(wrong_.begin(), wrong_.end(), 1) == static_cast<int64_t>(n_);
    return Diagnosis{Pattern::factor,
                     c,
                     {},
                     fmt::format("a factor of {}{}", known_as.value_or(number(c)),
                                 all ? "" : " in the entries that disagree")};
  }

  std::optional<Diagnosis> transposed_input() const {
    for (int p = 0; p < j_.input.ndim(); ++p)
      for (int q = p + 1; q < j_.input.ndim(); ++q) {
        if (j_.input[p] == 1 || j_.input[q] == 1) continue;
        Shape turned = j_.input;
        std::swap(turned[p], turned[q]);
        const Index strides = strides_of(turned);
        const auto model = [&](size_t r, size_t k) -> std::optional<double> {
          int64_t from = 0;  // the entry whose place in the turned shape is k
          for (int i = 0; i < turned.ndim(); ++i) {
            const int source = i == p ? q : i == q ? p : i;
            from += along(static_cast<int64_t>(k), i, turned, strides) *
                    input_strides_[static_cast<size_t>(source)];
          }
          return n(r, static_cast<size_t>(from));
        };
        if (explains(model, every_row))
          return Diagnosis{
              Pattern::transposition, 1, axes_of(1u << p | 1u << q),
              fmt::format("a transposition: the gradient with axes {} and {} exchanged", p, q)};
      }
    return {};
  }

  /// Two axes of dy exchanged, or one of dy and one of the gradient, as a factor that was not
  /// transposed does.
  std::optional<Diagnosis> transposed_output() const {
    if (!has_single_rows_) return {};
    const auto use = [&](size_t r) { return single(r); };
    const int in = j_.input.ndim(), out = j_.output.ndim();
    for (int p = 0; p < out; ++p)
      for (int q = p + 1; q < out + in; ++q) {
        const bool both_outputs = q < out;
        const int64_t size = both_outputs ? j_.output[q] : j_.input[q - out];
        if (j_.output[p] != size || size == 1) continue;
        const auto model = [&](size_t r, size_t k) -> std::optional<double> {
          const int64_t o = j_.rows[r];
          int64_t row = o, column = static_cast<int64_t>(k);
          const int64_t at = along(o, p, j_.output, output_strides_);
          const int64_t other = both_outputs ? along(o, q, j_.output, output_strides_)
                                             : along(column, q - out, j_.input, input_strides_);
          row += (other - at) * output_strides_[static_cast<size_t>(p)];
          if (both_outputs)
            row += (at - other) * output_strides_[static_cast<size_t>(q)];
          else
            column += (at - other) * input_strides_[static_cast<size_t>(q - out)];
          const int64_t known_row = row_of_[static_cast<size_t>(row)];
          if (known_row < 0) return {};
          return n(static_cast<size_t>(known_row), static_cast<size_t>(column));
        };
        if (!explains(model, use)) continue;
        return Diagnosis{
            Pattern::transposition,
            1,
            {},
            both_outputs
                ? fmt::format("a transposition: axes {} and {} of dy exchanged", p, q)
                : fmt::format("a factor that was not transposed: axis {} of the output stands in "
                              "for axis {} of the input",
                              p, q - out)};
      }
    return {};
  }

  std::optional<Diagnosis> shift() const {
    for (int p = 0; p < j_.input.ndim(); ++p) {
      if (j_.input[p] < 3) continue;
      for (int64_t by : {int64_t{1}, int64_t{-1}}) {
        const auto model = [&](size_t r, size_t k) -> std::optional<double> {
          const int64_t at = along(static_cast<int64_t>(k), p, j_.input, input_strides_) + by;
          if (at < 0 || at >= j_.input[p]) return {};
          return n(r, static_cast<size_t>(static_cast<int64_t>(k) +
                                          by * input_strides_[static_cast<size_t>(p)]));
        };
        if (explains(model, every_row))
          return Diagnosis{Pattern::shift, 1, axes_of(1u << p),
                           fmt::format("a shift by one place along axis {}", p)};
      }
    }
    return {};
  }

  /// Right where there is a gradient; something, too, where there is none.
  std::optional<Diagnosis> leak() const {
    const auto model = [&](size_t r, size_t k) -> std::optional<double> {
      if (zero(n(r, k), r, k)) return {};
      return n(r, k);
    };
    if (!explains(model, [&](size_t r) { return single(r) || !has_single_rows_; })) return {};
    return Diagnosis{Pattern::mask_not_applied,
                     1,
                     {},
                     "a mask that was not applied: right where there is a gradient, and not 0 "
                     "where there is none"};
  }

  /// Every element of the Jacobian right or 0.
  std::optional<Diagnosis> right_or_zero() const {
    const auto use = [&](size_t r) { return single(r) || !has_single_rows_; };
    const auto arrives = [&](size_t r, size_t k) { return !zero(a(r, k), r, k); };
    const auto model = [&](size_t r, size_t k) -> std::optional<double> {
      return arrives(r, k) ? n(r, k) : 0.0;
    };
    if (!explains(model, use)) return {};
    if (has_single_rows_)
      for (const bool last : {false, true})
        for (int p = -1; p < j_.output.ndim(); ++p) {
          if (p >= 0 && j_.output[p] == 1) continue;
          if (!only_extreme(p, last)) continue;
          const std::string outputs =
              p < 0 ? std::string("the outputs that an entry enters")
                    : fmt::format("the outputs along axis {} that an entry enters", p);
          if (last)
            return Diagnosis{
                Pattern::overwritten,
                1,
                {},
                "a gradient overwritten where it should be added to: only the last of " + outputs +
                    " arrives"};
          return Diagnosis{
              Pattern::broadcast_unreduced,
              1,
              {},
              "a broadcast that was not reduced: only the first of " + outputs + " arrives"};
        }
    std::vector<int64_t> never;
    for (size_t k = 0; k < n_; ++k) {
      bool any = false;
      for (size_t r = 0; r < rows_; ++r) any = any || arrives(r, k);
      if (wrong_[k] && !any) never.push_back(static_cast<int64_t>(k));
    }
    return Diagnosis{Pattern::entries_missing,
                     1,
                     {},
                     never.empty() ? "a part that is missing: every derivative is right or 0"
                                   : "a part that is missing: nothing arrives at " +
                                         describe_entries(j_.input, never)};
  }

  /// Whether, of the outputs that an entry enters, just those arrive that come first (or last)
  /// along an axis; -1: in row-major order.
  bool only_extreme(int axis, bool last) const {
    const auto place = [&](size_t r) {
      return axis < 0 ? j_.rows[r] : along(j_.rows[r], axis, j_.output, output_strides_);
    };
    for (size_t k = 0; k < n_; ++k) {
      std::optional<int64_t> extreme;
      for (size_t r = 0; r < rows_; ++r)
        if (single(r) && known(r, k) && !zero(n(r, k), r, k))
          extreme = !extreme ? place(r)
                    : last   ? std::max(*extreme, place(r))
                             : std::min(*extreme, place(r));
      for (size_t r = 0; r < rows_; ++r)
        if (single(r) && known(r, k) && !zero(n(r, k), r, k) &&
            !zero(a(r, k), r, k) != (place(r) == *extreme))
          return false;
    }
    return true;
  }

  /// Calls f(axes, groups) for sets of axes of at least `least` entries a group, largest groups
  /// first; the first result that is not empty.
  template <class F>
  std::optional<Diagnosis> for_axes(int64_t least, F f) const {
    std::vector<std::pair<int64_t, unsigned>> sets;
    for (unsigned axes = 0; axes < 1u << j_.input.ndim(); ++axes) {
      int64_t size = 1;
      bool trivial = false;
      for (int i = 0; i < j_.input.ndim(); ++i)
        if (axes >> i & 1) {
          size *= j_.input[i];
          trivial = trivial || j_.input[i] == 1;
        }
      if (size >= least && !trivial) sets.emplace_back(-size, axes);
    }
    std::sort(sets.begin(), sets.end());
    for (const auto& [size, axes] : sets)
      if (auto found = f(axes, group_along(j_.input, axes))) return found;
    return {};
  }

  std::optional<Diagnosis> factor_per_group() const {
    return for_axes(1, [&](unsigned axes, const Groups& groups) -> std::optional<Diagnosis> {
      if (groups.count < 2) return {};
      std::vector<double> an(groups.count), nn(groups.count);
      std::vector<int> count(groups.count);
      for (size_t r = 0; r < rows_; ++r)
        for (size_t k = 0; k < n_; ++k)
          if (known(r, k)) {
            const size_t g = groups.of[k];
            an[g] += a(r, k) * n(r, k);
            nn[g] += n(r, k) * n(r, k);
            count[g] += !zero(n(r, k), r, k);
          }
      double low = 1, high = 1;
      for (size_t g = 0; g < groups.count; ++g) {
        if (nn[g] == 0) continue;
        if (count[g] < 3) return {};
        an[g] /= nn[g];
        low = std::min(low, an[g]);
        high = std::max(high, an[g]);
      }
      const auto model = [&](size_t r, size_t k) -> std::optional<double> {
        return nn[groups.of[k]] == 0 ? 0.0 : an[groups.of[k]] * n(r, k);
      };
      if (!explains(model, every_row)) return {};
      const Axes constant = axes_of(axes);
      return Diagnosis{
          Pattern::factor_per_group, 1, constant,
          fmt::format(
              "a factor of its own for each {}, {} to {}: another deviation or eps",
              axes == 0 ? std::string("entry") : fmt::format("group along axes {}", constant),
              number(low), number(high))};
    });
  }

  /// The residual's part along 1 and along x^ within each group.
  std::optional<Diagnosis> statistics() const {
    if (j_.x.size() != n_) return {};
    return for_axes(3, [&](unsigned axes, const Groups& groups) -> std::optional<Diagnosis> {
      const Fit fit = fit_groups(groups, false);
      if (!fit.sums_to_zero || fit.smallest < 3) return {};
      const Axes along_axes = axes_of(axes);
      if (fit.constant)
        return Diagnosis{Pattern::mean_term, 1, along_axes,
                         fmt::format("a mean term that is missing or wrong: the residual is "
                                     "constant along axes {}",
                                     along_axes)};
      if (fit.proportional)
        return Diagnosis{Pattern::variance_term, 1, along_axes,
                         fmt::format("a variance term that is missing or wrong: the residual is "
                                     "proportional to x^ along axes {}",
                                     along_axes)};
      if (fit.smallest >= 4 && fit.both)
        return Diagnosis{Pattern::constant_statistics, 1, along_axes,
                         fmt::format("statistics held constant: the residual is made of 1 and x^ "
                                     "along axes {}",
                                     along_axes)};
      if (fit.smallest >= 5 && fit.scaled)
        return Diagnosis{Pattern::stale_statistics, 1, along_axes,
                         fmt::format("stale statistics: as if normalized along axes {} with other "
                                     "ones",
                                     along_axes)};
      return {};
    });
  }

  struct Fit {
    bool sums_to_zero = true;  // the numeric gradient does, as behind any mean that is taken off
    bool constant = true, proportional = true, both = true, scaled = true;
    int64_t smallest = 0;  // entries of the smallest group
  };

  Fit fit_groups(const Groups& groups, bool) const {
    Fit fit;
    std::vector<std::vector<size_t>> members(groups.count);
    for (size_t k = 0; k < n_; ++k) {
      bool active = false;  // masked entries never have a gradient
      for (size_t r = 0; r < rows_ && !active; ++r)
        active = known(r, k) && (!zero(a(r, k), r, k) || !zero(n(r, k), r, k));
      if (active) members[groups.of[k]].push_back(k);
    }
    fit.smallest = static_cast<int64_t>(n_);
    for (const auto& group : members) {
      if (group.empty()) continue;
      fit.smallest = std::min(fit.smallest, static_cast<int64_t>(group.size()));
      fit_group(group, fit);
    }
    return fit;
  }

  void fit_group(const std::vector<size_t>& group, Fit& fit) const {
    const double size = static_cast<double>(group.size());
    std::vector<double> xhat;
    double mean = 0, square = 0;
    for (size_t k : group) mean += j_.x[k] / size;
    for (size_t k : group) square += (j_.x[k] - mean) * (j_.x[k] - mean);
    for (size_t k : group) xhat.push_back(square > 0 ? (j_.x[k] - mean) / std::sqrt(square) : 0);
    // What is left of a vector once its parts along 1 and x^ are taken off.
    struct Split {
      double constant, slope;
      std::vector<double> rest;
    };
    const auto split = [&](auto value) {
      Split s{0, 0, {}};
      for (size_t i = 0; i < group.size(); ++i) {
        s.constant += value(group[i]) / size;
        s.slope += value(group[i]) * xhat[i];
      }
      for (size_t i = 0; i < group.size(); ++i)
        s.rest.push_back(value(group[i]) - s.constant - s.slope * xhat[i]);
      return s;
    };
    double an = 0, nn = 0;
    std::vector<std::pair<Split, Split>> splits(rows_);
    for (size_t r = 0; r < rows_; ++r) {
      double sum = 0, size_of_n = 0, tolerance = 1e-6 * largest_;
      for (size_t k : group) {
        if (!known(r, k)) return void(fit = Fit{false, false, false, false, false, 0});
        sum += n(r, k);
        size_of_n += std::abs(n(r, k));
        tolerance += t(r, k);
      }
      if (std::abs(sum) > 1e-6 * size_of_n + tolerance) fit.sums_to_zero = false;
      const Split e = split([&](size_t k) { return a(r, k) - n(r, k); });
      for (size_t i = 0; i < group.size(); ++i) {
        const double left = std::abs(e.rest[i]);
        const double limit = tolerance;
        fit.both = fit.both && left <= limit;
        fit.constant = fit.constant && std::abs(e.rest[i] + e.slope * xhat[i]) <= limit;
        fit.proportional = fit.proportional && std::abs(e.rest[i] + e.constant) <= limit;
      }
      splits[r] = {split([&](size_t k) { return a(r, k); }),
                   split([&](size_t k) { return n(r, k); })};
      for (size_t i = 0; i < group.size(); ++i) {
        an += splits[r].first.rest[i] * splits[r].second.rest[i];
        nn += splits[r].second.rest[i] * splits[r].second.rest[i];
      }
    }
    const double scale = nn > 0 ? an / nn : 1;
    for (size_t r = 0; r < rows_; ++r) {
      double tolerance = 1e-6 * largest_;
      for (size_t k : group) tolerance += t(r, k);
      for (size_t i = 0; i < group.size(); ++i)
        fit.scaled = fit.scaled && std::abs(splits[r].first.rest[i] -
                                            scale * splits[r].second.rest[i]) <= tolerance;
    }
  }

  /// A weight's gradient sum dy x^ with an x^ that is another linear function of x: for each entry
  /// A = alpha N + beta over the outputs that it enters.
  std::optional<Diagnosis> other_statistics() const {
    if (!has_single_rows_) return {};
    bool any = false;
    for (size_t k = 0; k < n_; ++k) {
      double count = 0, sa = 0, sn = 0, snn = 0, san = 0, size_of_n = 0;
      const auto use = [&](size_t r) {
        return single(r) && known(r, k) && (!zero(n(r, k), r, k) || !zero(a(r, k), r, k));
      };
      for (size_t r = 0; r < rows_; ++r)
        if (use(r)) {
          ++count;
          sa += a(r, k);
          sn += n(r, k);
        }
      if (count == 0) continue;
      if (count < 4) return {};
      for (size_t r = 0; r < rows_; ++r)
        if (use(r)) {
          const double dn = n(r, k) - sn / count;
          snn += dn * dn;
          san += dn * a(r, k);
          size_of_n += n(r, k) * n(r, k);
        }
      if (snn <= 1e-6 * size_of_n) return {};  // a bias: nothing to tell by
      const double alpha = san / snn, beta = (sa - alpha * sn) / count;
      for (size_t r = 0; r < rows_; ++r)
        if (use(r) && !close(a(r, k), alpha * n(r, k) + beta, t(r, k))) return {};
      any = any || wrong_[k];
    }
    if (!any) return {};
    return Diagnosis{Pattern::stale_statistics,
                     1,
                     {},
                     "stale statistics: each entry's gradient is a linear function of the right "
                     "one, as with an x^ by other ones"};
  }

  const JacobianRows& j_;
  size_t rows_, n_;
  Index input_strides_, output_strides_;
  std::vector<int64_t> row_of_;
  std::vector<uint8_t> wrong_;  // entries with a disagreement in any row
  bool has_single_rows_ = false;
  double largest_ = 0;  // difference
};

}  // namespace

Diagnosis diagnose(const JacobianRows& jacobian) { return Diagnoser(jacobian).run(); }

std::string describe_entries(const Shape& shape, std::span<const int64_t> entries) {
  const Index strides = strides_of(shape);
  const auto tuple = [&](int64_t k) {
    std::string text;
    for (int i = 0; i < shape.ndim(); ++i)
      text += fmt::format("{}{}", i ? ", " : "", along(k, i, shape, strides));
    return shape.ndim() == 1 ? text : "(" + text + ")";
  };
  if (static_cast<int64_t>(entries.size()) == shape.numel()) return "all entries";
  std::vector<std::set<int64_t>> places(static_cast<size_t>(shape.ndim()));
  for (int64_t k : entries)
    for (int i = 0; i < shape.ndim(); ++i)
      places[static_cast<size_t>(i)].insert(along(k, i, shape, strides));
  int64_t box = 1;
  for (const auto& set : places) box *= static_cast<int64_t>(set.size());
  if (shape.ndim() > 1 && entries.size() > 1 && box == static_cast<int64_t>(entries.size())) {
    std::string text;
    for (int i = 0; i < shape.ndim(); ++i) {
      const auto& set = places[static_cast<size_t>(i)];
      const int64_t first = *set.begin(), last = *set.rbegin(),
                    count = static_cast<int64_t>(set.size());
      if (i) text += ", ";
      if (count == shape[i])
        text += ":";
      else if (count == 1)
        text += fmt::format("{}", first);
      else if (last - first + 1 == count)
        text += fmt::format("{}:{}", first, last + 1);
      else if (count <= 4)
        text += fmt::format("{{{}}}", fmt::join(set, ", "));
      else
        text += fmt::format("{{{} of them}}", count);
    }
    return "entries [" + text + "]";
  }
  constexpr size_t kShown = 6;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, entries.size()); ++i)
    text += (i ? ", " : "") + tuple(entries[i]);
  return "entries [" + text + (entries.size() > kShown ? ", ...]" : "]");
}

}  // namespace gradus
