#include "lab/study/verdicts.h"

#include <gradus/base/error.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace gradus::lab {

namespace {

constexpr double kAlpha = 0.05;

/// A series' values of items, by seed and item.
std::map<uint64_t, std::map<int64_t, double>> by_item(const Rows& rows, const Series& series) {
  std::map<uint64_t, std::map<int64_t, double>> values;
  for (const Row& row : rows)
    if (row.item >= 0 && belongs(row, series)) values[row.seed][row.item] = row.value;
  return values;
}

/// The seeds that both have.
template <class Map>
std::vector<uint64_t> shared_seeds(const Map& a, const Map& b) {
  std::vector<uint64_t> seeds;
  for (const auto& [seed, values] : a)
    if (b.contains(seed)) seeds.push_back(seed);
  return seeds;
}

double deviation_of(const std::vector<double>& d) {
  return paired(d).standard_error * std::sqrt(static_cast<double>(d.size()));
}

/// log(mean a / mean b), to the first order in what items add: d[s][i] = log ratio of s + a[s][i] /
/// mean a[s] - b[s][i] / mean b[s], whose mean over the items is the log ratio of s.
void items_log_ratio(const Rows& rows, const Endpoint& endpoint, Finding& finding) {
  const auto a = by_item(rows, endpoint.a), b = by_item(rows, endpoint.b);
  std::vector<double> d;
  for (uint64_t seed : shared_seeds(a, b)) {
    const auto &x = a.at(seed), &y = b.at(seed);
    double mean_x = 0, mean_y = 0;
    for (const auto& [item, value] : x) {
      mean_x += value / static_cast<double>(x.size());
      mean_y += y.at(item) / static_cast<double>(x.size());
    }
    for (const auto& [item, value] : x)
      d.push_back(std::log(mean_x / mean_y) + value / mean_x - y.at(item) / mean_y);
    ++finding.seeds;
    finding.items = static_cast<int64_t>(x.size());
  }
  if (finding.seeds < 2) return;
  finding.estimate = two_way(d, finding.seeds, finding.items);
  std::vector<double> of_seed(static_cast<size_t>(finding.seeds));
  for (size_t i = 0; i < d.size(); ++i)
    of_seed[i / static_cast<size_t>(finding.items)] += d[i] / static_cast<double>(finding.items);
  finding.deviation = deviation_of(of_seed);
}

/// From differences, one a seed.
void take_paired(const std::vector<double>& d, Finding& finding) {
  finding.seeds = static_cast<int64_t>(d.size());
  if (finding.seeds < 2) return;
  finding.estimate = paired(d);
  finding.deviation = deviation_of(d);
}

void paired_by_seed(const Rows& rows, const Endpoint& endpoint, Finding& finding) {
  const auto a = by_seed(rows, endpoint.a), b = by_seed(rows, endpoint.b);
  std::vector<double> d;
  for (uint64_t seed : shared_seeds(a, b))
    d.push_back(endpoint.measure == Measure::log_ratio ? std::log(a.at(seed) / b.at(seed))
                                                       : a.at(seed) - b.at(seed));
  take_paired(d, finding);
}

void slopes(const Rows& rows, const Endpoint& endpoint, Finding& finding) {
  std::map<uint64_t, std::pair<std::vector<double>, std::vector<double>>> points;
  for (const Row& row : rows)
    if (row.item < 0 && row.x > 0 && belongs(row, endpoint.a)) {
      points[row.seed].first.push_back(std::log2(row.x));
      points[row.seed].second.push_back(row.value);
    }
  std::vector<double> d;
  for (const auto& [seed, xy] : points)
    if (std::ranges::min(xy.first) < std::ranges::max(xy.first))
      d.push_back(slope(xy.first, xy.second));
  take_paired(d, finding);
}

/// Whether a rate that the series rests on was the last of its grid. A series of all cells rests on
/// the rates of all.
bool at_edge(const char* experiment, const Series& series) {
  const auto of_series = [&](const TunedRate& rate) {
    return rate.experiment == experiment && rate.part == series.part && rate.norm == series.norm;
  };
  const auto& rates = tuned_rates();
  const bool has_cell = std::any_of(rates.begin(), rates.end(), [&](const TunedRate& rate) {
    return of_series(rate) && rate.cell == series.cell;
  });
  return std::any_of(rates.begin(), rates.end(), [&](const TunedRate& rate) {
    return of_series(rate) && rate.at_edge && (!has_cell || rate.cell == series.cell);
  });
}

/// The verdict of a test, by the adjusted p.
Verdict verdict_of(const Finding& finding) {
  const Endpoint& e = *finding.endpoint;
  const double towards = e.sign * finding.estimate.mean;
  if (finding.seeds < 2 || finding.at_edge) return Verdict::undecided;
  if (finding.adjusted_p < kAlpha && std::abs(towards) > e.margin) {
    if (towards < 0) return Verdict::opposite;
    return e.limits ? Verdict::shown_with_limits : Verdict::shown;
  }
  return equivalent(finding.estimate, e.margin) ? Verdict::equivalent : Verdict::undecided;
}

std::string sentence_of(const Finding& f) {
  const Endpoint& e = *f.endpoint;
  if (e.measure == Measure::bound)
    return fmt::format("{}: {} ({}).", f.verdict == Verdict::exact ? "Exact" : "Not so", e.claim,
                       measured(f));
  if (f.seeds < 2)
    return fmt::format(
        "Undecided: whether {}; there are not two seeds whose runs all ended in numbers.", e.claim);
  const std::string figures =
      fmt::format("{}, 95 %; {} seeds{}, p by Holm {:.2g}", measured(f), f.seeds,
                  f.items ? fmt::format(" and {} items", f.items) : "", f.adjusted_p);
  std::string text;
  switch (f.verdict) {
    case Verdict::shown:
      text = fmt::format("Shown: {} ({}).", e.claim, figures);
      break;
    case Verdict::shown_with_limits:
      text = fmt::format("Shown with limits: {} ({}). Limits: {}.", e.claim, figures, e.limits);
      break;
    case Verdict::opposite:
      text = fmt::format("The opposite is shown of: {} ({}).", e.claim, figures);
      break;
    case Verdict::equivalent:
      text = fmt::format("Equivalent within the margin, so not: {} ({}).", e.claim, figures);
      break;
    default:
      text = fmt::format("Undecided: whether {}; the data allow {}.", e.claim, figures);
  }
  return text + fmt::format(" Not tested: {}.", e.not_tested);
}

const Rows* rows_of(const std::vector<std::pair<std::string, Rows>>& experiments,
                    const char* name) {
  for (const auto& [experiment, rows] : experiments)
    if (experiment == name) return &rows;
  return nullptr;
}

}  // namespace

bool belongs(const Row& row, const Series& series) {
  const auto is = [](const std::string& name, const char* asked) {
    return *asked == '\0' || name == asked;
  };
  return is(row.part, series.part) && is(row.norm, series.norm) && is(row.cell, series.cell) &&
         is(row.quantity, series.quantity);
}

std::map<uint64_t, double> by_seed(const Rows& rows, const Series& series) {
  std::map<uint64_t, double> values;
  for (const Row& row : rows)
    if (row.item < 0 && belongs(row, series)) values[row.seed] = row.value;
  return values;
}

const char* name(Verdict verdict) {
  constexpr const char* kNames[] = {"opposite",          "undecided", "equivalent",
                                    "shown with limits", "shown",     "exact"};
  return kNames[static_cast<int>(verdict)];
}

std::string measured(const Finding& finding) {
  const Estimate& e = finding.estimate;
  if (finding.endpoint->measure == Measure::bound)
    return fmt::format("{}: at most {:.2g}", finding.endpoint->a.quantity, e.mean);
  if (finding.seeds < 2) return "no interval of fewer than two seeds";
  switch (finding.endpoint->measure) {
    case Measure::log_ratio:
      return fmt::format("ratio {:.3g} [{:.3g}, {:.3g}]", std::exp(e.mean), std::exp(e.low()),
                         std::exp(e.high()));
    case Measure::slope:
      return fmt::format("{:+.2g} [{:+.2g}, {:+.2g}] a doubling", e.mean, e.low(), e.high());
    default:
      return fmt::format("difference {:+.3g} [{:+.3g}, {:+.3g}]", e.mean, e.low(), e.high());
  }
}

std::vector<Finding> judge(const std::vector<std::pair<std::string, Rows>>& experiments) {
  std::vector<Finding> findings;
  std::vector<double> p;  // of every test, 1 where it was not made
  std::vector<size_t> tests;
  for (const Endpoint& endpoint : all_endpoints()) {
    const Rows* rows = rows_of(experiments, endpoint.experiment);
    Finding finding;
    finding.endpoint = &endpoint;
    if (endpoint.measure != Measure::bound)
      finding.at_edge = at_edge(endpoint.experiment, endpoint.a) ||
                        (endpoint.b.part && at_edge(endpoint.experiment, endpoint.b));
    if (rows && endpoint.measure == Measure::bound) {
      bool there = false;
      for (const Row& row : *rows)
        if (belongs(row, endpoint.a)) {
          there = true;
          const double size = std::isfinite(row.value) ? std::abs(row.value) : HUGE_VAL;
          finding.estimate.mean = std::max(finding.estimate.mean, size);
        }
      finding.verdict = !there                                    ? Verdict::undecided
                        : finding.estimate.mean < endpoint.margin ? Verdict::exact
                                                                  : Verdict::opposite;
    } else if (rows && endpoint.measure == Measure::slope) {
      slopes(*rows, endpoint, finding);
    } else if (rows) {
      if (endpoint.measure == Measure::log_ratio) items_log_ratio(*rows, endpoint, finding);
      if (finding.items == 0) paired_by_seed(*rows, endpoint, finding);
    }
    if (!std::isfinite(finding.estimate.mean + finding.estimate.standard_error) &&
        endpoint.measure != Measure::bound) {  // a run ended in no number
      finding.estimate = {};
      finding.seeds = 0;
    }
    if (finding.seeds > 1) finding.p = finding.estimate.p_value();
    if (endpoint.measure != Measure::bound) {
      if (rows) tests.push_back(findings.size());
      p.push_back(finding.p);
    }
    if (rows) findings.push_back(finding);
  }
  const std::vector<double> adjusted = holm(p);
  size_t test = 0, at = 0;
  for (const Endpoint& endpoint : all_endpoints()) {
    if (endpoint.measure == Measure::bound) continue;
    if (rows_of(experiments, endpoint.experiment))
      findings[tests[at++]].adjusted_p = adjusted[test];
    ++test;
  }
  for (Finding& finding : findings) {
    if (finding.endpoint->measure != Measure::bound) finding.verdict = verdict_of(finding);
    finding.sentence = sentence_of(finding);
  }
  return findings;
}

std::vector<StatementVerdict> judge_statements(const std::vector<Finding>& findings) {
  std::vector<StatementVerdict> verdicts;
  for (const Statement& statement : all_statements()) {
    const bool all = statement.number == 7;  // what sums up the others
    StatementVerdict v{&statement, Verdict::exact, true, ""};
    std::map<Verdict, int, std::greater<>> counts;
    for (const Endpoint& endpoint : all_endpoints()) {
      if (!all && endpoint.statement != statement.number) continue;
      const auto finding = std::find_if(findings.begin(), findings.end(),
                                        [&](const Finding& f) { return f.endpoint == &endpoint; });
      if (finding == findings.end()) {
        v.complete = false;
        continue;
      }
      ++counts[finding->verdict];
      v.verdict = std::min(v.verdict, finding->verdict);
    }
    if (counts.empty()) v.verdict = Verdict::undecided;
    for (const auto& [verdict, count] : counts)
      v.parts += fmt::format("{}{} {}", v.parts.empty() ? "" : ", ", count, name(verdict));
    verdicts.push_back(v);
  }
  return verdicts;
}

nlohmann::ordered_json to_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    const Endpoint& e = *f.endpoint;
    constexpr const char* kMeasures[] = {"log_ratio", "difference", "slope", "bound"};
    const auto series = [](const Series& s) {
      const auto text = [](const char* t) { return t ? t : ""; };
      return nlohmann::ordered_json{{"part", text(s.part)},
                                    {"norm", text(s.norm)},
                                    {"cell", text(s.cell)},
                                    {"quantity", text(s.quantity)}};
    };
    const bool test = e.measure != Measure::bound && f.seeds > 1;
    const auto known = [&](double value) {
      return test ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
    };
    json.push_back({{"endpoint", e.name},
                    {"statement", e.statement},
                    {"experiment", e.experiment},
                    {"measure", kMeasures[static_cast<int>(e.measure)]},
                    {"a", series(e.a)},
                    {"b", series(e.b)},
                    {"sign", e.sign},
                    {"margin", e.margin},
                    {"limits", e.limits != nullptr},
                    {"claim", e.claim},
                    {"estimate", f.estimate.mean},
                    {"standard_error", known(f.estimate.standard_error)},
                    {"degrees", known(f.estimate.degrees)},
                    {"low", test ? known(f.estimate.low()) : known(0)},
                    {"high", test ? known(f.estimate.high()) : known(0)},
                    {"p", known(f.p)},
                    {"p_holm", known(f.adjusted_p)},
                    {"at_edge", f.at_edge},
                    {"deviation", known(f.deviation)},
                    {"seeds", f.seeds},
                    {"items", f.items},
                    {"verdict", name(f.verdict)},
                    {"sentence", f.sentence}});
  }
  return json;
}

int64_t family_size() {
  return std::count_if(all_endpoints().begin(), all_endpoints().end(),
                       [](const Endpoint& e) { return e.measure != Measure::bound; });
}

}  // namespace gradus::lab
