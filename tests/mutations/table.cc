#include "tests/mutations/table.h"

#include <fmt/format.h>
#include <gradus/autograd/tape.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace gradus::mutations {

namespace {

/// The largest change of an entry's derivatives relative to their norm, of one input.
double effect_of(const std::vector<double>& wrong, const std::vector<double>& right, size_t n) {
  std::vector<double> change(n), size(n);
  double all = 0;
  for (size_t at = 0; at < right.size(); ++at) {
    change[at % n] += (wrong[at] - right[at]) * (wrong[at] - right[at]);
    size[at % n] += right[at] * right[at];
    all += right[at] * right[at] / static_cast<double>(n);
  }
  double largest = 0;
  for (size_t k = 0; k < n; ++k) {
    const double whole = size[k] > 1e-24 * all ? size[k] : all;
    if (change[k] > 0) largest = std::max(largest, std::sqrt(change[k] / whole));
  }
  return largest;
}

std::set<std::string> disagreeing(const GradcheckReport& report) {
  std::set<std::string> names;
  for (const GradcheckInput& input : report.inputs)
    if (input.counts.disagree > 0) names.insert(input.name);
  return names;
}

}  // namespace

Row try_mutant(const Mutant& mutant, int seeds) {
  Row row;
  row.mutant = mutant;
  row.effect = std::numeric_limits<double>::infinity();
  row.runs = seeds;
  for (uint64_t seed = 1; seed <= static_cast<uint64_t>(seeds); ++seed) {
    const Trial trial = mutant.trial(seed);
    const auto right = jacobians(trial);
    const Mutated mutated(mutant);
    const auto wrong = jacobians(trial);
    std::set<std::string> changed;
    double effect = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < right.size(); ++i) {
      const Tensor& x = trial.inputs[i];
      const double of_input = effect_of(wrong[i], right[i], static_cast<size_t>(x.numel()));
      if (!(of_input > 1e-12)) continue;  // rounding
      changed.insert(x.name());
      effect = std::min(effect, of_input);
    }
    const GradcheckReport report = gradcheck(trial.f, trial.inputs, {.seed = seed});
    const bool caught = report.disagreeing > 0 || !report.faults.empty();
    const bool relevant = !changed.empty() && is_relevant(effect);
    const std::set<std::string> declared(mutant.wrong.begin(), mutant.wrong.end());
    const bool localised = disagreeing(report) == declared;
    Pattern found = Pattern::none;
    std::string text;
    for (const GradcheckInput& input : report.inputs)
      if (input.name == mutant.wrong[0]) {
        found = input.diagnosis.pattern;
        text = input.diagnosis.text;
      }
    row.effect = std::min(row.effect, effect);
    row.relevant += relevant;
    row.ours += caught;
    row.missed += relevant && !caught;
    row.slow += !passes_slow_rule(trial);
    row.fast += !passes_fast_rule(trial, seed);
    row.localised += caught && localised;
    row.named += caught && found == mutant.pattern;
    if (!row.note.empty()) continue;
    if (changed != declared)
      row.note = fmt::format("seed {}: wrong are {}, not {}", seed, fmt::join(changed, ", "),
                             fmt::join(declared, ", "));
    else if (!caught || !localised)
      row.note = fmt::format("seed {}: {}", seed, report.text());
    else if (found != mutant.pattern)
      row.note = fmt::format("seed {}: named {}, not {}; {}", seed, name(found),
                             name(mutant.pattern), text);
  }
  return row;
}

Totals totals(std::span<const Row> rows) {
  Totals t;
  for (const Row& row : rows) {
    ++t.mutants;
    t.runs += row.runs;
    t.relevant += row.relevant;
    t.ours += row.ours;
    t.slow += row.slow;
    t.fast += row.fast;
    t.missed += row.missed;
    t.localised += row.localised;
    if (row.mutant.pattern != Pattern::none) {
      t.with_pattern += row.runs;
      t.named += row.named;
    } else {
      t.named_for_nothing += row.ours - row.named;
    }
  }
  return t;
}

namespace {

/// For a cell of a table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

double percent(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}
}  // namespace

std::string to_markdown(std::span<const Row> rows, const FalseAlarms& right) {
  std::string text =
      "| family | op | wrong backward pass | effect | Gradus | slow | fast | tensor | pattern | "
      "named |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Row& row : rows) {
    const bool pattern = row.mutant.pattern != Pattern::none;
    text +=
        fmt::format("| {} | {} | {} | {:.0e} | {} | {} | {} | {} | {} | {} |\n", row.mutant.family,
                    row.mutant.op, cell(row.mutant.what), row.effect, row.ours, row.slow, row.fast,
                    row.localised, pattern ? name(row.mutant.pattern) : "",
                    pattern ? std::to_string(row.named) : "");
  }
  const Totals t = totals(rows);
  text += fmt::format(
      "\n{} mutants, {} runs, {} of them with an effect of at least 1e-6.\n\n"
      "| | of | |\n|---|---|---|\n"
      "| caught by Gradus, effect at least 1e-6 | {} | {:.2f} % |\n"
      "| caught by Gradus | {} | {:.2f} % |\n"
      "| caught by the slow rule | {} | {:.2f} % |\n"
      "| caught by the fast rule | {} | {:.2f} % |\n"
      "| just the wrong tensors named | {} | {:.2f} % |\n"
      "| the right pattern named, where there is one | {} | {:.2f} % |\n"
      "| a pattern named where none was expected | {} | {:.2f} % |\n",
      t.mutants, t.runs, t.relevant, t.relevant, percent(t.relevant - t.missed, t.relevant), t.runs,
      percent(t.ours, t.runs), t.runs, percent(t.slow, t.runs), t.runs, percent(t.fast, t.runs),
      t.runs, percent(t.localised, t.runs), t.with_pattern, percent(t.named, t.with_pattern),
      t.runs - t.with_pattern, percent(t.named_for_nothing, t.runs - t.with_pattern));
  text += fmt::format(
      "| false alarms in checks of right gradients, {} to {} entries | {} | {} |\n"
      "| of those, nothing could be told in | {} | {} |\n"
      "| entries unresolved in those | {} | {:.3f} % |\n| entries at a kink in those | {} | {:.3f} "
      "% |\n",
      right.smallest, right.largest, right.checks, right.alarms.size(), right.checks, right.untold,
      right.entries, percent(right.unresolved, right.entries), right.entries,
      percent(right.kinks, right.entries));
  return text;
}

nlohmann::ordered_json to_json(std::span<const Row> rows, const FalseAlarms& right) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    const Mutant& m = row.mutant;
    list.push_back({{"family", m.family},
                    {"op", m.op},
                    {"what", m.what},
                    {"wrong", m.wrong},
                    {"pattern", name(m.pattern)},
                    {"effect", row.effect},
                    {"runs", row.runs},
                    {"relevant", row.relevant},
                    {"caught_by_gradus", row.ours},
                    {"caught_by_slow_rule", row.slow},
                    {"caught_by_fast_rule", row.fast},
                    {"missed", row.missed},
                    {"localised", row.localised},
                    {"named", row.named},
                    {"note", row.note}});
  }
  const Totals t = totals(rows);
  return {{"mutants", list},
          {"totals",
           {{"mutants", t.mutants},
            {"runs", t.runs},
            {"relevant", t.relevant},
            {"caught_by_gradus", t.ours},
            {"caught_by_slow_rule", t.slow},
            {"caught_by_fast_rule", t.fast},
            {"missed", t.missed},
            {"localised", t.localised},
            {"runs_with_pattern", t.with_pattern},
            {"named", t.named},
            {"named_for_nothing", t.named_for_nothing}}},
          {"right_gradients",
           {{"checks", right.checks},
            {"full", right.full},
            {"entries", right.entries},
            {"unresolved", right.unresolved},
            {"kinks", right.kinks},
            {"untold", right.untold},
            {"false_alarms", right.alarms}}}};
}

}  // namespace gradus::mutations
