#pragma once
#include <nlohmann/json_fwd.hpp>

#include "lab/compare.h"

namespace gradus::lab {

/// All finished runs of one model with one norm. Runs that diverged are counted, no more; one that
/// was stopped does not enter.
struct Summary {
  std::string model, norm;
  int64_t runs = 0, diverged = 0;
  double accuracy_mean = 0, accuracy_deviation = 0;  ///< of the test accuracy after the last epoch
  double test_loss = 0;                              ///< after the last epoch, mean over runs
  double final_loss = 0;                             ///< mean over runs
  double epochs_to_95 = 0;                           ///< mean over the runs that got there
  int64_t reached_95 = 0;                            ///< how many did
  double gap = 0;      ///< mean accuracy with batch statistics minus that with running ones
  double step_ms = 0;  ///< mean of the runs' medians
  int64_t parameters = 0;
  /// The model's first norm, with which the others are compared seed by seed: in so many seeds
  /// (`pairs`) both have finished, in so many the accuracy is higher or lower, by so much on
  /// average.
  std::string reference;
  int64_t pairs = 0, higher = 0, lower = 0;
  double difference = 0;
  /// Half the width of the 95 % interval around it, by Student's t with pairs - 1 degrees; 0 of
  /// fewer than two pairs. Where each seed has a split of its own, training sets overlap, and the
  /// variance of the mean is s^2 (1 / pairs + n_test / n_train) (Nadeau & Bengio 2003).
  double half_width = 0;
};

std::vector<Summary> summarize(const std::vector<Run>& runs);
/// A table for each model, and what the columns mean.
std::string table(const std::vector<Summary>& summaries);
/// What differed, in sentences.
std::string findings(const std::vector<Summary>& summaries);
/// What tells a comparison from others: its options and the checksum of its data.
nlohmann::ordered_json to_json(const CompareOptions& options, const std::string& data_checksum);
/// A comparison, and the summaries of its runs.
nlohmann::ordered_json to_json(const CompareOptions& options, const std::string& data_checksum,
                               const std::vector<Run>& runs);
/// What to_json() was made of; an Error if it was not.
std::vector<Summary> summaries_from(const nlohmann::ordered_json& json);

/// Writes metrics.csv and summary.json, which holds `summary`; returns their paths.
std::vector<std::string> write_tables(const std::string& folder,
                                      const nlohmann::ordered_json& summary,
                                      const std::vector<Run>& runs);
/// Writes curves.gp and, if gnuplot is installed, curves.svg; returns its path, or a line that says
/// why there is no picture. A file is replaced whole or not at all.
std::string write_picture(const std::string& folder, const std::vector<Run>& runs);

}  // namespace gradus::lab
