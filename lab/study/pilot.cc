#include "lab/study/pilot.h"

#include <fmt/format.h>
#include <gradus/base/file.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>

#include "lab/study/csv.h"

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

}  // namespace

const std::vector<Piloted>& pilot() {
  static const std::vector<Piloted> all = [] {
    std::vector<Piloted> read;
    read_csv("pilot.csv", std::string(reinterpret_cast<const char*>(pilot_csv), pilot_csv_size),
             kHeader, [&](const std::string& where, const std::vector<std::string_view>& cells) {
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

void run_pilot(LabOptions options, const std::function<void(const LabProgress&)>& progress,
               const std::function<bool()>& stop) {
  options.study.first_seed = kPilotSeed;
  options.study.seeds = kPilotSeeds;
  options.study.multiples = false;
  const LabResult result = run_lab(options, progress, stop);
  if (result.stopped) return;
  std::string text = std::string(kHeader) + "\n";
  for (const Endpoint& e : all_endpoints()) {
    if (e.measure == Measure::bound) continue;
    const auto found = std::find_if(result.findings.begin(), result.findings.end(),
                                    [&](const Finding& f) { return f.endpoint == &e; });
    if (found != result.findings.end()) text += line_of(e.name, *found);
    for (const Piloted& before : pilot())
      if (found == result.findings.end() && before.endpoint == e.name)
        text += line_of(e.name, before);
  }
  write_file((std::filesystem::path(options.results.output) / "pilot.csv").string(),
             [&](std::ostream& out) { out << text; });
}

Plan plan_of(const Endpoint& endpoint, const Piloted& piloted, const StudyOptions& options) {
  const Estimate& e = piloted.estimate;
  const double least = std::abs(e.mean) - student_t_quantile(0.8, e.degrees) * e.standard_error;
  const double effect = std::max(2 * endpoint.margin, least);
  const double alpha = kAlpha / static_cast<double>(family_size());
  const auto seeds = static_cast<int64_t>(options.all_seeds(endpoint.times).size());
  return {effect, seeds_needed(effect, piloted.components, piloted.items, alpha, kPower), seeds,
          seeds > 1 ? power(effect, piloted.components, seeds, piloted.items, alpha) : 0};
}

}  // namespace gradus::lab
