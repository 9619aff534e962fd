#include <fmt/format.h>
#include <gradus/gradcheck/detail/residual.h>

#include <algorithm>
#include <limits>
#include <set>

namespace gradus {

using checking::Residual;

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
    case Pattern::wrong_axis:
      return "wrong axis";
    case Pattern::constant_statistics:
      return "statistics held constant";
    case Pattern::stale_statistics:
      return "stale statistics";
  }
  return "";
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.ndim()), 1);
  for (int i = shape.ndim() - 1; i > 0; --i)
    strides[static_cast<size_t>(i - 1)] = strides[static_cast<size_t>(i)] * shape[i];
  return strides;
}

Axes axes_of(unsigned bits) {
  Axes axes;
  for (int i = 0; i < Shape::kMaxDims; ++i)
    if (bits >> i & 1) axes.push_back(i);
  return axes;
}

EntryGroups group_along(const Shape& shape, unsigned axes) {
  EntryGroups groups{std::vector<size_t>(static_cast<size_t>(shape.numel())), 1};
  const std::vector<int64_t> strides = strides_of(shape);
  for (int i = 0; i < shape.ndim(); ++i)
    if (!(axes >> i & 1)) groups.count *= static_cast<size_t>(shape[i]);
  for (size_t k = 0; k < groups.of.size(); ++k) {
    int64_t group = 0;
    for (int i = 0; i < shape.ndim(); ++i)
      if (!(axes >> i & 1))
        group = group * shape[i] + along(static_cast<int64_t>(k), i, shape, strides);
    groups.of[k] = static_cast<size_t>(group);
  }
  return groups;
}

std::vector<unsigned> axis_sets(const Shape& shape, int64_t least) {
  std::vector<std::pair<int64_t, unsigned>> by_size;
  for (unsigned axes = 0; axes < 1u << shape.ndim(); ++axes) {
    int64_t size = 1;
    bool trivial = false;
    for (int i = 0; i < shape.ndim(); ++i)
      if (axes >> i & 1) {
        size *= shape[i];
        trivial = trivial || shape[i] == 1;
      }
    if (size >= least && !trivial) by_size.emplace_back(-size, axes);
  }
  std::sort(by_size.begin(), by_size.end());
  std::vector<unsigned> sets;
  for (const auto& [size, axes] : by_size) sets.push_back(axes);
  return sets;
}

Residual::Residual(const JacobianRows& jacobian)
    : j_(jacobian),
      rows_(jacobian.rows.size()),
      n_(static_cast<size_t>(jacobian.input.numel())),
      row_of_(static_cast<size_t>(jacobian.output.numel()), -1),
      wrong_(n_) {
  for (size_t r = 0; r < rows_; ++r) {
    if (single(r)) {
      row_of_[static_cast<size_t>(j_.rows[r])] = static_cast<int64_t>(r);
      has_single_rows_ = true;
    }
    for (size_t k = 0; k < n_; ++k) {
      if (!known(r, k)) continue;
      const double difference = std::abs(a(r, k) - n(r, k));
      if (!(difference <= tolerance(r, k))) wrong_[k] = 1;
      largest_ = std::isfinite(difference) ? std::max(largest_, difference)
                                           : std::numeric_limits<double>::infinity();
    }
  }
  wrong_count_ = static_cast<size_t>(std::count(wrong_.begin(), wrong_.end(), 1));
}

namespace {

using Found = std::optional<Diagnosis>;

std::string number(double value) { return fmt::format("{:.7g}", value); }

Found no_gradient(const Residual& e) {
  for (double value : e.jacobian().analytic)
    if (value != 0) return {};
  return Diagnosis{Pattern::no_gradient,
                   "an input without any gradient: it is 0, but the function depends on it"};
}

/// The sizes of all sets of axes of input and output.
std::set<int64_t> group_sizes(const JacobianRows& j) {
  std::set<int64_t> sizes;
  for (const Shape* shape : {&j.input, &j.output})
    for (unsigned axes : axis_sets(*shape, 2)) {
      int64_t size = 1;
      for (int64_t axis : axes_of(axes)) size *= (*shape)[static_cast<int>(axis)];
      sizes.insert(size);
    }
  return sizes;
}

/// A name for a number that wrong factors often are.
std::optional<std::string> factor_name(const JacobianRows& j, double c, double tolerance) {
  const auto is = [&](double value) { return std::abs(c - value) <= tolerance; };
  if (is(-1)) return "-1: the sign";
  if (is(2)) return "2";
  if (is(0.5)) return "1/2";
  for (int64_t size : group_sizes(j)) {
    const double n = static_cast<double>(size);
    const std::pair<double, const char*> candidates[] = {{n, "N"},
                                                         {1 / n, "1/N"},
                                                         {n / (n - 1), "N/(N-1)"},
                                                         {(n - 1) / n, "(N-1)/N"},
                                                         {std::sqrt(n), "sqrt(N)"},
                                                         {1 / std::sqrt(n), "1/sqrt(N)"},
                                                         {std::sqrt(n / (n - 1)), "sqrt(N/(N-1))"},
                                                         {std::sqrt((n - 1) / n), "sqrt((N-1)/N)"}};
    for (const auto& [value, text] : candidates) {
      if (is(value)) return fmt::format("{} = {}, N = {}", number(c), text, size);
      if (is(-value)) return fmt::format("{} = -{}, N = {}", number(c), text, size);
    }
  }
  return {};
}

/// c with a = c n over the entries that disagree; all others agree.
Found factor(const Residual& e) {
  double an = 0, nn = 0, accuracy = 0;
  int64_t count = 0;
  for (size_t r = 0; r < e.rows(); ++r)
    for (size_t k = 0; k < e.entries(); ++k) {
      if (!e.wrong(k) || !e.known(r, k)) continue;
      an += e.a(r, k) * e.n(r, k);
      nn += e.n(r, k) * e.n(r, k);
      accuracy = std::max(accuracy, e.tolerance(r, k));
      count += !e.numeric_zero(r, k);
    }
  const double c = an / nn;
  if (nn == 0 || std::abs(c) < 1e-6) return {};
  if (!e.explained_by(
          [&](size_t r, size_t k) { return std::optional((e.wrong(k) ? c : 1) * e.n(r, k)); }))
    return {};
  const auto known_as = factor_name(e.jacobian(), c, 1e-7 + 10 * accuracy / std::sqrt(nn));
  if (!known_as && count < 3) return {};
  return Diagnosis{
      Pattern::factor,
      fmt::format("a factor of {}{}", known_as.value_or(number(c)),
                  e.wrong_count() == e.entries() ? "" : " in the entries that disagree")};
}

Found transposed_input(const Residual& e) {
  const Shape& shape = e.jacobian().input;
  const std::vector<int64_t> from = strides_of(shape);
  for (int p = 0; p < shape.ndim(); ++p)
    for (int q = p + 1; q < shape.ndim(); ++q) {
      if (shape[p] == 1 || shape[q] == 1) continue;
      Shape turned = shape;
      std::swap(turned[p], turned[q]);
      const std::vector<int64_t> strides = strides_of(turned);
      const auto model = [&](size_t r, size_t k) {  // the entry that stands at k once turned
        int64_t source = 0;
        for (int i = 0; i < turned.ndim(); ++i)
          source += along(static_cast<int64_t>(k), i, turned, strides) *
                    from[static_cast<size_t>(i == p   ? q
                                             : i == q ? p
                                                      : i)];
        return std::optional(e.n(r, static_cast<size_t>(source)));
      };
      if (e.explained_by(model))
        return Diagnosis{
            Pattern::transposition,
            fmt::format("a transposition: the gradient with axes {} and {} exchanged", p, q)};
    }
  return {};
}

/// Two axes of dy exchanged, or, as with a factor that was not transposed, one of dy with one of
/// the gradient.
Found transposed_output(const Residual& e) {
  if (!e.has_single_rows()) return {};
  const Shape &input = e.jacobian().input, &output = e.jacobian().output;
  const std::vector<int64_t> in = strides_of(input), out = strides_of(output);
  for (int p = 0; p < output.ndim(); ++p)
    for (int q = p + 1; q < output.ndim() + input.ndim(); ++q) {
      const bool both = q < output.ndim();
      const int other = both ? q : q - output.ndim();
      if (output[p] == 1 || output[p] != (both ? output : input)[other]) continue;
      const auto model = [&](size_t r, size_t k) -> std::optional<double> {
        int64_t row = e.jacobian().rows[r], column = static_cast<int64_t>(k);
        const int64_t at = along(row, p, output, out);
        const int64_t there =
            both ? along(row, other, output, out) : along(column, other, input, in);
        row += (there - at) * out[static_cast<size_t>(p)];
        (both ? row : column) += (at - there) * (both ? out : in)[static_cast<size_t>(other)];
        if (e.row_of(row) < 0) return {};
        return e.n(static_cast<size_t>(e.row_of(row)), static_cast<size_t>(column));
      };
      if (!e.explained_by(model, [&](size_t r) { return e.single(r); })) continue;
      return Diagnosis{Pattern::transposition,
                       both ? fmt::format("a transposition: axes {} and {} of dy exchanged", p, q)
                            : fmt::format("a factor that was not transposed: axis {} of the output "
                                          "stands in for axis {} of the input",
                                          p, other)};
    }
  return {};
}

/// Whether, of the outputs that an entry enters, just those arrive that come first (or last) along
/// an axis; -1: in row-major order.
bool only_extreme_arrives(const Residual& e, int axis, bool last) {
  const Shape& output = e.jacobian().output;
  const std::vector<int64_t> strides = strides_of(output);
  const auto place = [&](size_t r) {
    const int64_t o = e.jacobian().rows[r];
    return axis < 0 ? o : along(o, axis, output, strides);
  };
  const auto enters = [&](size_t r, size_t k) {
    return e.single(r) && e.known(r, k) && !e.numeric_zero(r, k);
  };
  for (size_t k = 0; k < e.entries(); ++k) {
    std::optional<int64_t> extreme;
    std::set<int64_t> places;
    for (size_t r = 0; r < e.rows(); ++r) {
      if (!enters(r, k)) continue;
      places.insert(place(r));
      if (!extreme || (place(r) > *extreme) == last) extreme = place(r);
    }
    // What is broadcast along an axis enters all of it; the first of some are no such row.
    if (axis >= 0 && !last && extreme && static_cast<int64_t>(places.size()) < output[axis])
      return false;
    for (size_t r = 0; r < e.rows(); ++r)
      if (enters(r, k) && e.analytic_zero(r, k) == (place(r) == *extreme)) return false;
  }
  return true;
}

/// Every derivative right or 0.
Found right_or_zero(const Residual& e) {
  const auto model = [&](size_t r, size_t k) {
    return std::optional(e.analytic_zero(r, k) ? 0.0 : e.n(r, k));
  };
  if (!e.explained_by(model, [&](size_t r) { return e.tells_outputs(r); })) return {};
  const Shape &input = e.jacobian().input, &output = e.jacobian().output;
  for (int axis = -1; axis < output.ndim() && e.has_single_rows(); ++axis) {
    if (axis >= 0 && output[axis] == 1) continue;
    const std::string where = axis < 0 ? "" : fmt::format(" along axis {}", axis);
    if (only_extreme_arrives(e, axis, false))
      return Diagnosis{Pattern::broadcast_unreduced,
                       fmt::format("a broadcast that was not reduced: only the first{} of the "
                                   "outputs that an entry enters arrives",
                                   where)};
    if (only_extreme_arrives(e, axis, true))
      return Diagnosis{Pattern::overwritten,
                       fmt::format("a gradient overwritten where it should be added to: only the "
                                   "last{} of the outputs that an entry enters arrives",
                                   where)};
  }
  std::vector<int64_t> never;
  for (size_t k = 0; k < e.entries(); ++k) {
    bool any = !e.wrong(k);
    for (size_t r = 0; r < e.rows() && !any; ++r) any = !e.analytic_zero(r, k);
    if (!any) never.push_back(static_cast<int64_t>(k));
  }
  return Diagnosis{Pattern::entries_missing,
                   never.empty() ? "a part that is missing: every derivative is right or 0"
                                 : "a part that is missing: nothing arrives at " +
                                       describe_entries(input, never)};
}

/// Right where there is a gradient; something, too, where there is none.
Found mask_not_applied(const Residual& e) {
  const auto model = [&](size_t r, size_t k) {
    return e.numeric_zero(r, k) ? std::optional<double>() : e.n(r, k);
  };
  if (!e.explained_by(model, [&](size_t r) { return e.tells_outputs(r); })) return {};
  return Diagnosis{Pattern::mask_not_applied,
                   "a mask that was not applied: right where there is a gradient, and not 0 where "
                   "there is none"};
}

Found shift(const Residual& e) {
  const Shape& shape = e.jacobian().input;
  const std::vector<int64_t> strides = strides_of(shape);
  for (int p = 0; p < shape.ndim(); ++p)
    for (int64_t by : {int64_t{1}, int64_t{-1}}) {
      if (shape[p] < 3) continue;
      const auto model = [&](size_t r, size_t k) -> std::optional<double> {
        const int64_t at = along(static_cast<int64_t>(k), p, shape, strides) + by;
        if (at < 0 || at >= shape[p]) return {};
        return e.n(
            r, static_cast<size_t>(static_cast<int64_t>(k) + by * strides[static_cast<size_t>(p)]));
      };
      if (e.explained_by(model))
        return Diagnosis{Pattern::shift, fmt::format("a shift by one place along axis {}", p)};
    }
  return {};
}

Found factor_per_group(const Residual& e) {
  for (unsigned axes : axis_sets(e.jacobian().input, 1)) {
    const EntryGroups groups = group_along(e.jacobian().input, axes);
    if (groups.count < 2) continue;
    std::vector<double> an(groups.count), nn(groups.count), factors(groups.count, 1);
    std::vector<int> count(groups.count);
    for (size_t r = 0; r < e.rows(); ++r)
      for (size_t k = 0; k < e.entries(); ++k) {
        if (!e.known(r, k)) continue;
        an[groups.of[k]] += e.a(r, k) * e.n(r, k);
        nn[groups.of[k]] += e.n(r, k) * e.n(r, k);
        // A weighted sum says nothing new of an entry that enters one output alone.
        count[groups.of[k]] += (axes != 0 || e.single(r)) && !e.numeric_zero(r, k);
      }
    bool determined = true;
    for (size_t g = 0; g < groups.count; ++g) {
      if (nn[g] == 0) continue;
      factors[g] = an[g] / nn[g];
      determined = determined && count[g] >= 3;
    }
    if (!determined || !e.explained_by([&](size_t r, size_t k) {
          return std::optional(factors[groups.of[k]] * e.n(r, k));
        }))
      continue;
    const auto [low, high] = std::minmax_element(factors.begin(), factors.end());
    const std::string each =
        axes == 0 ? "entry" : fmt::format("group along axes {}", axes_of(axes));
    const bool near_one = *low > 0.5 && *high < 2;
    return Diagnosis{Pattern::factor_per_group,
                     fmt::format("a factor of its own for each {}, {} to {}{}", each, number(*low),
                                 number(*high), near_one ? ": another deviation or eps" : "")};
  }
  return {};
}

}  // namespace

Diagnosis diagnose(const JacobianRows& jacobian) {
  const Residual residual(jacobian);
  if (residual.wrong_count() == 0 || !std::isfinite(residual.largest_difference())) return {};
  for (auto pattern :
       {no_gradient, factor, transposed_input, transposed_output, right_or_zero, mask_not_applied,
        shift, factor_per_group, diagnose_statistics, diagnose_weight_statistics})
    if (Found found = pattern(residual)) return *found;
  return {};
}

std::string describe_entries(const Shape& shape, std::span<const int64_t> entries) {
  const std::vector<int64_t> strides = strides_of(shape);
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
