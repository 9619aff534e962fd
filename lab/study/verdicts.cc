#include "lab/study/verdicts.h"

#include <fmt/ranges.h>
#include <gradus/base/error.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lab/study/nets.h"

namespace gradus::lab {

namespace {

/// A series' values of items, by seed and item.
std::map<uint64_t, std::map<int64_t, double>> by_item(const Rows& rows, const Series& series) {
  std::map<uint64_t, std::map<int64_t, double>> values;
  for (const Row& row : rows)
    if (row.item >= 0 && belongs(row, series)) values[row.seed][row.item] = row.value;
  return values;
}

/// log(mean of the items), to the first order in what each adds: log mean + value / mean - 1, whose
/// mean over the items is the logarithm.
std::vector<double> log_of_items(const std::map<int64_t, double>& items) {
  double mean = 0;
  for (const auto& [item, value] : items) mean += value / static_cast<double>(items.size());
  std::vector<double> logs;
  for (const auto& [item, value] : items) logs.push_back(std::log(mean) + value / mean - 1);
  return logs;
}

/// The series that are added and subtracted, as logarithms: of a ratio of ratios four.
struct Term {
  double sign;
  Series series;
};
std::vector<Term> terms_of(const Series& a, const Series& b, const char* baseline) {
  std::vector<Term> terms = {{+1, a}, {-1, b}};
  if (baseline)
    for (const Term& term : std::vector(terms))
      terms.push_back(
          {-term.sign, {term.series.part, term.series.norm, baseline, term.series.quantity}});
  return terms;
}

/// From differences, one a seed.
Measured of_pairs(const std::vector<double>& d) {
  const auto seeds = static_cast<int64_t>(d.size());
  if (seeds < 2) return {.seeds = seeds};
  return {paired(d), components(d), seeds};
}

/// From losses of items; without seeds where a series has none.
Measured items_log_ratio(const Rows& rows, const std::vector<Term>& terms) {
  std::map<uint64_t, std::vector<double>> d;
  std::map<uint64_t, size_t> count;
  for (const Term& term : terms)
    for (const auto& [seed, items] : by_item(rows, term.series)) {
      const std::vector<double> logs = log_of_items(items);
      d[seed].resize(logs.size());
      for (size_t i = 0; i < logs.size(); ++i) d[seed][i] += term.sign * logs[i];
      ++count[seed];
    }
  Measured found;
  std::vector<double> all;
  for (const auto& [seed, values] : d) {
    if (count[seed] < terms.size()) continue;
    ++found.seeds;
    found.items = static_cast<int64_t>(values.size());
    all.insert(all.end(), values.begin(), values.end());
  }
  if (found.seeds < 2) return found;
  found.estimate = two_way(all, found.seeds, found.items);
  found.components = components(all, found.seeds, found.items);
  return found;
}

/// The sum of the terms for each seed that all of them have.
Measured paired_by_seed(const Rows& rows, const std::vector<Term>& terms, double (*f)(double)) {
  std::map<uint64_t, double> sums;
  std::map<uint64_t, size_t> count;
  for (const Term& term : terms)
    for (const auto& [seed, value] : by_seed(rows, term.series)) {
      sums[seed] += term.sign * f(value);
      ++count[seed];
    }
  std::vector<double> d;
  for (const auto& [seed, sum] : sums)
    if (count[seed] == terms.size()) d.push_back(sum);
  return of_pairs(d);
}

Measured slopes(const Rows& rows, const Series& series) {
  std::map<uint64_t, std::pair<std::vector<double>, std::vector<double>>> points;
  for (const Row& row : rows)
    if (row.item < 0 && row.x > 0 && belongs(row, series)) {
      points[row.seed].first.push_back(std::log2(row.x));
      points[row.seed].second.push_back(row.value);
    }
  std::vector<double> d;
  for (const auto& [seed, xy] : points)
    if (std::ranges::min(xy.first) < std::ranges::max(xy.first))
      d.push_back(slope(xy.first, xy.second));
  return of_pairs(d);
}

/// The largest |value|, infinite where one is no number; seeds are the rows here.
Measured bound(const Rows& rows, const Series& series) {
  Measured found;
  for (const Row& row : rows)
    if (belongs(row, series)) {
      const double size = std::isfinite(row.value) ? std::abs(row.value) : HUGE_VAL;
      found.estimate.mean = std::max(found.estimate.mean, size);
      ++found.seeds;
    }
  return found;
}

/// A comparison in which a run ended in no number has no seeds.
Measured measure(const Rows& rows, Measure measure, const Series& a, const Series& b,
                 const char* baseline) {
  if (measure == Measure::bound) return bound(rows, a);
  Measured found;
  if (measure == Measure::slope) {
    found = slopes(rows, a);
  } else if (measure == Measure::difference) {
    found = paired_by_seed(rows, terms_of(a, b, nullptr), [](double value) { return value; });
  } else {
    const auto terms = terms_of(a, b, baseline);
    found = items_log_ratio(rows, terms);
    if (found.seeds == 0)
      found = paired_by_seed(rows, terms, [](double value) { return std::log(value); });
  }
  const Estimate& e = found.estimate;
  return std::isfinite(e.mean + e.standard_error) ? found : Measured{};
}

/// The rates that a series rests on. One without a rate of its own cell rests on those of all.
std::vector<TunedRate> rates_of(const char* experiment, const Series& series) {
  std::vector<TunedRate> all, own;
  for (const TunedRate& rate : tuned_rates()) {
    if (rate.experiment != experiment || rate.part != series.part || rate.norm != series.norm)
      continue;
    all.push_back(rate);
    if (rate.cell == series.cell) own.push_back(rate);
  }
  return own.empty() ? all : own;
}

/// Whether a rate that the endpoint rests on was chosen on other images than these.
bool foreign(const Endpoint& endpoint, const std::string& data) {
  if (!reads_images(find_experiment(endpoint.experiment), endpoint.a.part)) return false;
  for (const Series& series : {endpoint.a, endpoint.b})
    if (series.part)
      for (const TunedRate& rate : rates_of(endpoint.experiment, series))
        if (rate.data != data) return true;
  return false;
}

bool at_edge(const Rows& rows, const Endpoint& endpoint) {
  for (const Series& series : {endpoint.a, endpoint.b}) {
    if (!series.part) continue;
    for (const TunedRate& rate : rates_of(endpoint.experiment, series))
      if (rate.at_edge) return true;
    const auto told = by_seed(rows, {series.part, series.norm, series.cell, kAtEdge});
    for (const auto& [seed, is] : told)
      if (is != 0) return true;
  }
  return false;
}

Series brier_of(const Series& loss) { return {loss.part, loss.norm, loss.cell, kBrier}; }

/// The verdict of a test, by the adjusted p.
Verdict verdict_of(const Finding& finding) {
  const Endpoint& e = *finding.endpoint;
  const double towards = e.sign * finding.estimate.mean;
  if (finding.seeds < 2 || finding.at_edge || finding.foreign) return Verdict::undecided;
  if (finding.adjusted_p < kAlpha && std::abs(towards) > e.margin) {
    if (towards < 0) return Verdict::opposite;
    return e.limits ? Verdict::shown_with_limits : Verdict::shown;
  }
  return equivalent(finding.estimate, e.margin) ? Verdict::equivalent : Verdict::undecided;
}

/// What a series counts, in words, and how many make one of its unit.
struct Unit {
  double scale;
  std::string name;
};
Unit unit_of(const Series& series) {
  const std::string quantity = series.quantity;
  return quantity.starts_with("accuracy") ? Unit{100, "points"} : Unit{1, quantity};
}

std::string text_of(const Endpoint& endpoint, const Measured& m) {
  const Estimate& e = m.estimate;
  if (endpoint.measure == Measure::log_ratio)
    return fmt::format("ratio {:.3g} [{:.3g}, {:.3g}]", std::exp(e.mean), std::exp(e.low()),
                       std::exp(e.high()));
  const auto [scale, unit] = unit_of(endpoint.a);
  return fmt::format("difference {:+.3g} [{:+.3g}, {:+.3g}] {}{}", scale * e.mean, scale * e.low(),
                     scale * e.high(), unit,
                     endpoint.measure == Measure::slope ? " a doubling" : "");
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
  if (e.beside.text && f.beside.seeds > 1)
    text += fmt::format(" {}: {}, {} seeds.", e.beside.text, text_of(e, f.beside), f.beside.seeds);
  if (f.brier.seeds > 1) text += fmt::format(" As Brier scores: {}.", text_of(e, f.brier));
  if (f.foreign) text += " No verdict: its learning rates were chosen on another data set.";
  if (f.at_edge) text += " No verdict: a setting that was chosen for it is the last one tried.";
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

std::string effect_of(const Endpoint& endpoint, double effect) {
  if (endpoint.measure == Measure::log_ratio) return fmt::format("ratio {:.3g}", std::exp(effect));
  if (endpoint.measure == Measure::bound) return fmt::format("{:.3g}", effect);
  const auto [scale, unit] = unit_of(endpoint.a);
  return fmt::format("{:.3g} {}{}", scale * effect, unit,
                     endpoint.measure == Measure::slope ? " a doubling" : "");
}

std::string measured(const Finding& finding) {
  const Endpoint& e = *finding.endpoint;
  if (e.measure == Measure::bound)
    return fmt::format("{}: at most {:.2g}", e.a.quantity, finding.estimate.mean);
  if (finding.seeds < 2) return "no interval of fewer than two seeds";
  return text_of(e, finding);
}

std::vector<uint64_t> seeds_of_cell(const StudyOptions& options, std::string_view experiment,
                                    std::string_view part, std::string_view norm,
                                    std::string_view cell) {
  double times = 0;
  for (const Endpoint& e : all_endpoints())
    for (const Series& s : {e.a, e.b, e.beside.a, e.beside.b})
      if (e.experiment == experiment && s.part && s.part == part && s.norm == norm &&
          s.cell == cell)
        times = std::max(times, e.times);
  return times == 0 ? options.context_seeds() : options.all_seeds(times);
}

std::vector<Finding> judge(const std::vector<std::pair<std::string, Rows>>& experiments,
                           const StudyOptions& options) {
  const std::string data = rates_data(options.data);
  std::vector<Finding> findings;
  std::vector<double> p;  // of every test, 1 where it was not made
  std::vector<size_t> tests;
  for (const Endpoint& endpoint : all_endpoints()) {
    const bool test = endpoint.measure != Measure::bound;
    const Rows* rows = rows_of(experiments, endpoint.experiment);
    if (!rows) {
      if (test) p.push_back(1);
      continue;
    }
    Finding finding{measure(*rows, endpoint.measure, endpoint.a, endpoint.b, endpoint.baseline)};
    finding.endpoint = &endpoint;
    if (endpoint.beside.text)
      finding.beside =
          measure(*rows, endpoint.measure, endpoint.beside.a, endpoint.beside.b, nullptr);
    if (endpoint.measure == Measure::log_ratio)
      finding.brier = measure(*rows, endpoint.measure, brier_of(endpoint.a), brier_of(endpoint.b),
                              endpoint.baseline);
    if (test) {
      finding.foreign = foreign(endpoint, data);
      finding.at_edge = at_edge(*rows, endpoint);
      if (finding.seeds > 1) finding.p = finding.estimate.p_value();
      p.push_back(finding.p);
      tests.push_back(findings.size());
    } else if (finding.seeds > 0) {
      finding.verdict =
          finding.estimate.mean < endpoint.margin ? Verdict::exact : Verdict::opposite;
    }
    findings.push_back(finding);
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

Together together(const std::vector<Finding>& findings,
                  const std::function<bool(const Endpoint&)>& counts) {
  Together all;
  std::map<Verdict, std::vector<std::string>> names;
  for (const Endpoint& endpoint : all_endpoints()) {
    if (!counts(endpoint)) continue;
    const auto finding = std::find_if(findings.begin(), findings.end(),
                                      [&](const Finding& f) { return f.endpoint == &endpoint; });
    if (finding == findings.end())
      all.complete = false;
    else
      names[finding->verdict].emplace_back(endpoint.name);
  }
  if (!names.empty()) all.verdict = names.begin()->first;
  if (names.size() > 1)
    for (const auto& [verdict, of] : names)
      all.parts += fmt::format("{}{}: {}", all.parts.empty() ? "" : "; ", name(verdict),
                               fmt::join(of, ", "));
  return all;
}

std::vector<StatementVerdict> judge_statements(const std::vector<Finding>& findings) {
  std::vector<StatementVerdict> verdicts;
  for (const Statement& statement : all_statements()) {
    const bool all = statement.number == 7;  // what sums up the others
    verdicts.push_back({together(findings,
                                 [&](const Endpoint& endpoint) {
                                   return all || endpoint.statement == statement.number;
                                 }),
                        &statement});
  }
  return verdicts;
}

namespace {

nlohmann::ordered_json to_json(const Series& s) {
  const auto text = [](const char* t) { return t ? t : ""; };
  return {{"part", text(s.part)},
          {"norm", text(s.norm)},
          {"cell", text(s.cell)},
          {"quantity", text(s.quantity)}};
}

/// An estimate with its interval, or nothing in their place.
nlohmann::ordered_json to_json(const Measured& m, bool known) {
  const auto number = [&](double value) {
    return known ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
  };
  const Estimate& e = m.estimate;
  return {{"estimate", e.mean},
          {"standard_error", number(e.standard_error)},
          {"degrees", number(e.degrees)},
          {"low", known ? number(e.low()) : nullptr},
          {"high", known ? number(e.high()) : nullptr},
          {"seeds", m.seeds},
          {"items", m.items}};
}

}  // namespace

nlohmann::ordered_json to_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    const Endpoint& e = *f.endpoint;
    constexpr const char* kMeasures[] = {"log_ratio", "difference", "slope", "bound"};
    const bool test = e.measure != Measure::bound && f.seeds > 1;
    nlohmann::ordered_json entry = {{"endpoint", e.name},
                                    {"statement", e.statement},
                                    {"experiment", e.experiment},
                                    {"measure", kMeasures[static_cast<int>(e.measure)]},
                                    {"a", to_json(e.a)},
                                    {"b", to_json(e.b)},
                                    {"baseline", e.baseline ? e.baseline : ""},
                                    {"sign", e.sign},
                                    {"margin", e.margin},
                                    {"limits", e.limits != nullptr},
                                    {"claim", e.claim}};
    entry.update(to_json(f, test));
    if (e.measure == Measure::bound) entry["seeds"] = 0;
    const auto known = [&](const nlohmann::ordered_json& value) {
      return test ? value : nlohmann::ordered_json();
    };
    entry["p"] = known(f.p);
    entry["p_holm"] = known(f.adjusted_p);
    entry["components"] = known({f.components.seeds, f.components.items, f.components.rest});
    entry["at_edge"] = f.at_edge;
    entry["foreign_rates"] = f.foreign;
    if (f.brier.seeds > 1) entry["brier"] = to_json(f.brier, true);
    if (e.beside.text && f.beside.seeds > 1) {
      entry["beside"] = {{"a", to_json(e.beside.a)}, {"b", to_json(e.beside.b)}};
      entry["beside"].update(to_json(f.beside, true));
    }
    entry["verdict"] = name(f.verdict);
    entry["sentence"] = f.sentence;
    json.push_back(entry);
  }
  return json;
}

int64_t family_size() {
  return std::count_if(all_endpoints().begin(), all_endpoints().end(),
                       [](const Endpoint& e) { return e.measure != Measure::bound; });
}

}  // namespace gradus::lab
