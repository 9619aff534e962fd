#include "lab/study/tuning.h"

#include <fmt/ranges.h>
#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <filesystem>

#include "lab/results_folder.h"
#include "lab/study/csv.h"
#include "lab/study/nets.h"
#include "lab/study/run_note.h"

namespace gradus::lab {

namespace {

/// What is to be done, and the rates that it finds among those that stay.
struct Work {
  std::vector<TunedRate> rates;
  std::vector<Job> jobs;
  std::vector<size_t> places;  // of each job's rate
};

bool is_named(const Experiment& experiment, const LabOptions& options) {
  return options.names.empty() || std::find(options.names.begin(), options.names.end(),
                                            experiment.name) != options.names.end();
}

/// The seeds that choose.
std::vector<uint64_t> tuning_seeds() {
  return StudyOptions{.seeds = kTuningSeeds, .first_seed = kTuningSeed}.all_seeds();
}

void add_work(const Experiment& experiment, const LabOptions& options, Work& work) {
  const std::string& data = options.study.data;
  const bool tuned = is_named(experiment, options) && misfit(experiment, options.study).empty();
  for (const Tunable& tunable : experiment.tunables(options.study)) {
    const bool images = reads_images(experiment, tunable.part);
    const size_t place = work.rates.size();
    if (!tuned || (data != "digits" && !images)) {
      work.rates.push_back(tuned_rate(experiment.name, tunable.part, tunable.norm, tunable.cell));
      continue;
    }
    work.rates.emplace_back();
    work.places.push_back(place);
    work.jobs.push_back({tunable.part, [=, &experiment, &work] {
                           TunedRate& rate = work.rates[place];
                           rate = tune(experiment.name, tunable, tuning_seeds());
                           rate.data = images ? rates_data(data) : "vowels";
                           return Rows();
                         }});
  }
}

void write_rates(const std::string& folder, const std::vector<TunedRate>& rates,
                 const std::vector<std::string>& notes) {
  NotedTable noted{notes, std::string(kRatesHeader) + "\n"};
  for (const TunedRate& r : rates)
    noted.table += fmt::format("{},{},{},{},{},{:.6g},{},{}\n", r.experiment, r.part, r.norm,
                               r.cell, r.lr, r.loss, r.at_edge ? 1 : 0, r.data);
  write_file((std::filesystem::path(folder) / "rates.csv").string(),
             [&](std::ostream& out) { out << join_notes(noted); });
}

/// The notes of a table in which this run has chosen some rates; the others have theirs.
std::vector<std::string> notes_of(const Work& work, const LabOptions& options, int threads,
                                  const RunNote& run) {
  std::vector<std::string> notes, names;
  if (work.jobs.size() < work.rates.size()) notes = rates_notes();
  for (const size_t place : work.places)
    if (names.empty() || names.back() != work.rates[place].experiment)
      names.push_back(work.rates[place].experiment);
  if (!names.empty())
    notes.push_back(
        run.text(fmt::format("{} cells of {}{}", work.jobs.size(), fmt::join(names, " and "),
                             options.study.data == "digits" ? "" : " on images of a folder"),
                 threads));
  return notes;
}

}  // namespace

void tune_all(const LabOptions& options, const std::function<void(const std::string&)>& line,
              const std::function<bool()>& stop) {
  for (const std::string& name : options.names) find_experiment(name);
  if (options.study.data != "digits") run_images(options.study.data, kTuningSeed);
  const ResultsFolder folder(options.results.output, {"rates.csv"});
  const RunNote run;
  Work work;
  for (const Experiment* experiment : all_experiments())
    if (experiment->tunables) add_work(*experiment, options, work);
  size_t done = 0;
  const int threads = options.results.threads > 0 ? options.results.threads : gradus::threads();
  run_jobs(
      work.jobs, threads,
      [&](size_t i) {
        const TunedRate& r = work.rates[work.places[i]];
        line(fmt::format("[{}/{}] {} {} {} {}: rate {:.3g}, validation loss {:.4f}{}", ++done,
                         work.jobs.size(), r.experiment, r.part, r.norm, r.cell, r.lr, r.loss,
                         r.at_edge ? ", at the grid's edge" : ""));
      },
      stop);
  if (!stop())
    write_rates(options.results.output, work.rates, notes_of(work, options, threads, run));
}

}  // namespace gradus::lab
