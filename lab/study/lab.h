#pragma once
#include <functional>
#include <string>
#include <vector>

#include "lab/result_options.h"
#include "lab/study/verdicts.h"

namespace gradus::lab {

struct LabOptions {
  StudyOptions study = {};
  std::vector<std::string> names = {};  ///< experiments; none: all
  ResultOptions results{.output = "gradus-lab"};
  std::string rates = {};  ///< the file that read_tuned_rates() has read; empty: the program's own
};

/// What is going on, after each job and at the beginning of an experiment.
struct LabProgress {
  const Experiment& experiment;
  size_t number, experiments;  ///< from 1
  size_t jobs_done, jobs;
  bool kept;            ///< its results were there already
  double seconds_left;  ///< by what experiments say they take, and what this run took
};

/// What a run of the lab left.
struct LabResult {
  std::vector<std::pair<std::string, Rows>> experiments;  ///< all whose results are in the folder
  std::vector<std::string> left_out;                      ///< and why
  std::vector<Finding> findings;
  std::vector<StatementVerdict> statements;
  std::string rates;  ///< LabOptions::rates
  bool stopped = false;
};

/// Why an experiment is not for the images of the options; empty where it is.
std::string misfit(const Experiment& experiment, const StudyOptions& options);

/// Of images of a folder: which, on what the learning rates were chosen, and what follows.
std::string images_note(const StudyOptions& options);

/// Runs the experiments that the folder has no results of, writes NAME.csv as each ends, then
/// claims.json. A folder of another version or other options is an error, and nothing is changed.
LabResult run_lab(const LabOptions& options,
                  const std::function<void(const LabProgress&)>& progress,
                  const std::function<bool()>& stop);

}  // namespace gradus::lab
