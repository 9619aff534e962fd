#include "lab/study/pilot.h"

#include <fmt/ranges.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>

#include "lab/study/csv.h"
#include "lab/study/run_note.h"

namespace gradus {
// lab/study/pilot.csv, embedded by the build.
extern const unsigned char pilot_csv[];
extern const size_t pilot_csv_size;
}  // namespace gradus

namespace gradus::lab {

namespace {

constexpr const char* kHeader =
    "endpoint,estimate,standard_error,degrees,seeds,items,v_seeds,v_items,v_rest";

std::string line_of(const std::string& endpoint, const Measured& m) {
  return fmt::format("{},{},{},{},{},{},{},{},{}\n", endpoint, m.estimate.mean,
                     m.estimate.standard_error, m.estimate.degrees, m.seeds, m.items,
                     m.components.seeds, m.components.items, m.components.rest);
}

std::string embedded_pilot() { return {reinterpret_cast<const char*>(pilot_csv), pilot_csv_size}; }

/// The least effect that so many seeds see with kPower: by halves, for power grows with it.
double least_seen(const Piloted& piloted, int64_t seeds, double alpha) {
  const auto sees = [&](double effect) {
    return power(effect, piloted.components, seeds, piloted.items, alpha) >= kPower;
  };
  double low = 0, high = 1;
  while (high < 1e9 && !sees(high)) low = high, high *= 2;
  for (int i = 0; i < 50; ++i) (sees((low + high) / 2) ? high : low) = (low + high) / 2;
  return high;
}

}  // namespace

const std::vector<Piloted>& pilot() {
  static const std::vector<Piloted> all = [] {
    std::vector<Piloted> read;
    read_csv("pilot.csv", embedded_pilot(), kHeader,
             [&](const std::string& where, const std::vector<std::string_view>& cells) {
               const auto number = [&](size_t i) { return csv_number(where, cells[i]); };
               read.push_back({{{number(1), number(2), number(3)},
                                {number(6), number(7), number(8)},
                                csv_number<int64_t>(where, cells[4]),
                                csv_number<int64_t>(where, cells[5])},
                               std::string(cells[0])});
             });
    return read;
  }();
  return all;
}

const std::vector<std::string>& pilot_notes() {
  static const std::vector<std::string> notes = split_notes(embedded_pilot()).notes;
  return notes;
}

void run_pilot(LabOptions options, const std::function<void(const LabProgress&)>& progress,
               const std::function<bool()>& stop) {
  options.study.first_seed = kPilotSeed;
  options.study.seeds = kPilotSeeds;
  options.study.multiples = false;
  const RunNote run;
  std::vector<std::string> names;  // of the experiments that this run computes
  const LabResult result = run_lab(
      options,
      [&](const LabProgress& p) {
        if (!p.kept && p.jobs_done == 0) names.emplace_back(p.experiment.name);
        progress(p);
      },
      stop);
  if (result.stopped) return;
  NotedTable noted{{}, std::string(kHeader) + "\n"};
  bool all = true, any = false;  // whether it has endpoints' numbers of this folder
  for (const Endpoint& e : all_endpoints()) {
    if (e.measure == Measure::bound) continue;
    const auto found = std::find_if(result.findings.begin(), result.findings.end(),
                                    [&](const Finding& f) { return f.endpoint == &e; });
    if (found != result.findings.end()) {
      noted.table += line_of(e.name, *found);
      any = true;
      continue;
    }
    all = false;
    for (const Piloted& before : pilot())
      if (before.endpoint == e.name) noted.table += line_of(e.name, before);
  }
  if (!all) noted.notes = pilot_notes();
  if (any && !names.empty())
    noted.notes.push_back(
        run.text(fmt::format("experiments {}", fmt::join(names, ", ")),
                 options.results.threads > 0 ? options.results.threads : gradus::threads()));
  write_file((std::filesystem::path(options.results.output) / "pilot.csv").string(),
             [&](std::ostream& out) { out << join_notes(noted); });
}

Plan plan_of(const Endpoint& endpoint, const Piloted& piloted, const StudyOptions& options) {
  const Estimate& e = piloted.estimate;
  const double least = std::abs(e.mean) - student_t_quantile(0.8, e.degrees) * e.standard_error;
  const double effect = std::max(2 * endpoint.margin, least);
  const double alpha = kAlpha / static_cast<double>(family_size());
  const auto seeds = static_cast<int64_t>(options.all_seeds(endpoint.times).size());
  return {effect, seeds_needed(effect, piloted.components, piloted.items, alpha, kPower), seeds,
          seeds > 1 ? power(effect, piloted.components, seeds, piloted.items, alpha) : 0,
          seeds > 1 ? least_seen(piloted, seeds, alpha) : 0};
}

}  // namespace gradus::lab
