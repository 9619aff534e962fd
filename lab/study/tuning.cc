#include "lab/study/tuning.h"

#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <filesystem>

#include "lab/report.h"
#include "lab/study/nets.h"

namespace gradus::lab {

void tune_all(const LabOptions& options, const std::function<void(const std::string&)>& line,
              const std::function<bool()>& stop) {
  for (const std::string& name : options.names) find_experiment(name);
  if (options.study.data != "digits") run_images(options.study.data, kTuningSeed);
  const ResultsFolder folder(options.out);
  std::vector<TunedRate> rates;
  std::vector<Job> jobs;
  for (const Experiment* experiment : all_experiments()) {
    const bool wanted = options.names.empty() ||
                        std::find(options.names.begin(), options.names.end(), experiment->name) !=
                            options.names.end();
    if (!wanted || !experiment->tunables) {
      for (const TunedRate& rate : tuned_rates())
        if (rate.experiment == experiment->name) rates.push_back(rate);
      continue;
    }
    for (const Tunable& tunable : experiment->tunables(options.study)) {
      const size_t place = rates.size();
      rates.push_back({experiment->name, tunable.part, tunable.norm, tunable.cell, 0, 0, true});
      jobs.push_back({"", [&rates, place, tunable, experiment] {
                        const StudyOptions own{.seeds = tunable.seeds, .first_seed = kTuningSeed};
                        rates[place] = tune(experiment->name, tunable, own.all_seeds());
                        return Rows();
                      }});
      jobs.back().what = std::to_string(place);
    }
  }
  size_t done = 0;
  const int threads = options.threads > 0 ? options.threads : gradus::threads();
  run_jobs(
      jobs, threads,
      [&](size_t i) {
        const TunedRate& r = rates[std::stoul(jobs[i].what)];
        line(fmt::format("[{}/{}] {} {} {} {}: rate {:.3g}, validation loss {:.4f}{}", ++done,
                         jobs.size(), r.experiment, r.part, r.norm, r.cell, r.lr, r.loss,
                         r.at_edge ? ", at the grid's edge" : ""));
      },
      stop);
  if (stop()) return;
  write_file((std::filesystem::path(options.out) / "rates.csv").string(), [&](std::ostream& out) {
    out << "experiment,part,norm,cell,lr,loss,at_edge\n";
    for (const TunedRate& r : rates)
      out << fmt::format("{},{},{},{},{},{:.6g},{}\n", r.experiment, r.part, r.norm, r.cell, r.lr,
                         r.loss, r.at_edge ? 1 : 0);
  });
}

}  // namespace gradus::lab
