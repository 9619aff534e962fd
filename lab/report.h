#pragma once
#include <nlohmann/json.hpp>

#include "lab/compare.h"

namespace gradus::lab {

/// All runs of one model with one norm.
struct Summary {
  std::string model, norm;
  int64_t runs;
  double accuracy_mean, accuracy_deviation;  ///< of the test accuracy after the last epoch
  double final_loss;                         ///< mean over runs
  double epochs_to_95;                       ///< mean over the runs that got there; 0: none
  int64_t reached_95;                        ///< how many did
  double gap;  ///< mean accuracy with batch statistics minus that with running ones
  double step_ms;
  int64_t parameters;
};

std::vector<Summary> summarize(const std::vector<Run>& runs);
/// A table for each model.
std::string table(const std::vector<Summary>& summaries);
nlohmann::ordered_json to_json(const CompareOptions& options, const std::vector<Run>& runs);

/// Writes metrics.csv, summary.json and, if gnuplot is installed, curves.svg; returns the paths,
/// and lines to tell the user. A file is replaced whole or not at all.
std::vector<std::string> write_results(const std::string& folder, const CompareOptions& options,
                                       const std::vector<Run>& runs);

/// Makes sure that files can be written there, before hours are spent.
void prepare_folder(const std::string& folder);

}  // namespace gradus::lab
