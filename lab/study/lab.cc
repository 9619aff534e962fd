#include "lab/study/lab.h"

#include <fmt/ranges.h>
#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>
#include <gradus/version.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "lab/command.h"
#include "lab/json_text.h"
#include "lab/results_folder.h"
#include "lab/study/csv.h"
#include "lab/study/nets.h"
#include "lab/study/tuning.h"

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// What all results of a folder have in common.
ordered_json identity(const StudyOptions& options) {
  return {{"gradus", GRADUS_VERSION},
          {"seeds", options.seeds},
          {"first_seed", options.first_seed},
          {"multiples", options.multiples},
          {"rates", fmt::format("{:x}", tuned_rates_checksum())},
          {"data", options.data},
          {"images", fmt::format("{:x}", images_checksum(options.data))}};
}

/// What the lab writes, but for its page's figures.
std::vector<std::string> files() {
  std::vector<std::string> names{"claims.json", "microscope.json", "report.html", "pilot.csv"};
  for (const Experiment* experiment : all_experiments())
    names.push_back(fmt::format("{}.csv", experiment->name));
  names.emplace_back("study.json");  // the last, as it tells whose the others are
  return names;
}

/// Makes the folder's files those of these options, or says why they cannot be.
void enter_folder(const LabOptions& options) {
  const fs::path folder = options.results.output, file = folder / "study.json";
  const ordered_json now = identity(options.study);
  if (fs::exists(file) && !options.results.fresh) {
    const ordered_json before = json_of_file(file.string());
    check(!before.is_discarded() && json_text(before) == json_text(now),
          "lab: {} holds results of another run ({}), this one is {}; nothing is mixed: give "
          "another --output, or --fresh to begin anew",
          options.results.output, before.is_discarded() ? "damaged" : json_text(before, -1),
          json_text(now, -1));
    return;
  }
  for (const Experiment* experiment : all_experiments()) {
    const fs::path results = folder / fmt::format("{}.csv", experiment->name);
    check(options.results.fresh || !fs::exists(results),
          "lab: {} is there, and no study.json that tells whose it is; give another --output, or "
          "--fresh to replace it",
          results.string());
  }
  if (options.results.fresh)
    for (const std::string& name : files()) remove_file((folder / name).string());
  write_file(file.string(), [&](std::ostream& out) { out << json_text(now) << "\n"; });
}

/// What is wrong with the options is told before the folder is touched.
void check_options(const LabOptions& options) {
  const StudyOptions& study = options.study;
  check(options.results.threads >= 0, "lab: {} threads", options.results.threads);
  check(study.seeds > 0, "lab: {} seeds; at least 1", study.seeds);
  const bool pilot = !study.multiples;  // it has seeds of its own
  double times = 1;
  for (const Endpoint& endpoint : all_endpoints()) times = std::max(times, endpoint.times);
  const auto seeds = study.all_seeds(times);
  check(pilot || (study.first_seed < kTuningSeed && seeds.size() <= kTuningSeed - study.first_seed),
        "lab: seeds {} to {}; those from {} on have chosen the learning rates", study.first_seed,
        seeds.back(), kTuningSeed);
  for (const std::string& name : options.names) find_experiment(name);
  if (study.data != "digits") run_images(study.data, study.first_seed);
}

std::vector<const Experiment*> chosen(const LabOptions& options,
                                      std::vector<std::string>& left_out) {
  std::vector<const Experiment*> experiments;
  for (const Experiment* experiment : all_experiments()) {
    const bool named = std::find(options.names.begin(), options.names.end(), experiment->name) !=
                       options.names.end();
    if (!options.names.empty() && !named) continue;
    if (const std::string why = misfit(*experiment, options.study); !why.empty())
      left_out.push_back(fmt::format("{} is left out: {}", experiment->name, why));
    else
      experiments.push_back(experiment);
  }
  check(!experiments.empty(), "lab: nothing is left to run: {}", fmt::join(left_out, "; "));
  return experiments;
}

/// Whether --data changes what the endpoint rests on.
bool on_images(const Endpoint& endpoint) {
  return reads_images(find_experiment(endpoint.experiment), endpoint.a.part);
}

}  // namespace

std::string misfit(const Experiment& experiment, const StudyOptions& options) {
  if (options.data == "digits") return "";
  if (!experiment.on_images) return "it is not about images of a folder";
  return experiment.misfit ? experiment.misfit(options) : "";
}

std::string images_note(const StudyOptions& options) {
  const auto& rates = tuned_rates();
  const std::string data = rates_data(options.data);
  const Pair over = averaged_pixels(options.data);
  const std::string averaged =
      over.h > 1 || over.w > 1 ? fmt::format(", averaged over {} x {} pixels", over.h, over.w) : "";
  if (std::any_of(rates.begin(), rates.end(), [&](const TunedRate& r) { return r.data == data; }))
    return fmt::format("{}{}; the learning rates were chosen on them", options.data, averaged);
  return fmt::format(
      "{}{}; the learning rates were chosen on others, so that tests that rest on them get no "
      "verdict; to choose them: gradus lab --tune --data {} --output tuned, then --rates "
      "tuned/rates.csv",
      options.data, averaged, shell_word(options.data));
}

LabResult run_lab(const LabOptions& options,
                  const std::function<void(const LabProgress&)>& progress,
                  const std::function<bool()>& stop) {
  LabResult result;
  check_options(options);
  result.rates = options.rates;
  const auto experiments = chosen(options, result.left_out);
  const ResultsFolder folder(options.results.output, files());
  enter_folder(options);
  const int threads = options.results.threads > 0 ? options.results.threads : gradus::threads();
  const auto file_of = [&](const Experiment& e) {
    return fs::path(options.results.output) / fmt::format("{}.csv", e.name);
  };
  double told = 0, to_come = 0;  // seconds that experiments say they take
  for (const Experiment* experiment : experiments)
    if (!fs::exists(file_of(*experiment))) to_come += experiment->seconds;
  const auto begin = std::chrono::steady_clock::now();
  for (size_t k = 0; k < experiments.size() && !stop(); ++k) {
    const Experiment& experiment = *experiments[k];
    const auto tell = [&](size_t done, size_t jobs, bool kept) {
      const double part = jobs ? static_cast<double>(done) / static_cast<double>(jobs) : 0;
      const double over = told + (kept ? 0 : part * experiment.seconds);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      const double pace = over > 0 ? took.count() / over : 1;
      progress({experiment, k + 1, experiments.size(), done, jobs, kept,
                pace * std::max(0.0, to_come - over)});
    };
    if (fs::exists(file_of(experiment))) {
      tell(0, 0, true);
      continue;
    }
    const std::vector<Job> jobs = experiment.jobs(options.study);
    size_t done = 0;
    tell(done, jobs.size(), false);
    const Rows rows = run_jobs(
        jobs, threads, [&](size_t) { tell(++done, jobs.size(), false); }, stop);
    told += experiment.seconds;
    if (stop()) break;
    write_file(file_of(experiment).string(), [&](std::ostream& out) { out << to_csv(rows); });
  }
  result.stopped = stop();
  for (const Experiment* experiment : all_experiments())
    if (const fs::path file = file_of(*experiment); fs::exists(file))
      result.experiments.emplace_back(experiment->name,
                                      from_csv(file.string(), read_file(file.string())));
  result.findings = judge(result.experiments, options.study);
  if (options.study.data != "digits")
    for (Finding& finding : result.findings)
      if (on_images(*finding.endpoint))
        finding.sentence += fmt::format(" Images: {}.", options.study.data);
  result.statements = judge_statements(result.findings);
  ordered_json claims = {{"options", identity(options.study)},
                         {"family", family_size()},
                         {"statements", ordered_json::array()},
                         {"endpoints", to_json(result.findings)}};
  for (const StatementVerdict& v : result.statements)
    claims["statements"].push_back({{"number", v.statement->number},
                                    {"text", v.statement->text},
                                    {"verdict", name(v.verdict)},
                                    {"parts", v.parts},
                                    {"complete", v.complete}});
  write_file((fs::path(options.results.output) / "claims.json").string(),
             [&](std::ostream& out) { out << json_text(claims) << "\n"; });
  return result;
}

}  // namespace gradus::lab
