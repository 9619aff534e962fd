#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lab/compare_models.h"

namespace gradus::lab {

struct CompareOptions {
  std::vector<std::string> models = {"cnn", "rnn", "transformer"};
  std::vector<std::string> norms = norm_names();
  int64_t seeds = 3;
  int64_t epochs = 30;
  int64_t batch_size = 32;
  double lr = 3e-3;  ///< after one epoch of warm-up; then half a cosine down to 0
  std::string optimizer = "adam";
  std::string data = "digits";  ///< or "vowels", or a folder of IDX files
};

struct EpochMetrics {
  int64_t epoch;  ///< from 1
  double train_loss, test_accuracy;
  double test_accuracy_batch_stats;  ///< scored with the statistics of each batch of test images
  double test_loss = 0;
};

struct Run {
  std::string model, norm;
  uint64_t seed = 0;
  int64_t parameters = 0;
  double step_ms = 0;                ///< median
  std::vector<EpochMetrics> epochs;  ///< those that are done
  int64_t diverged_in = 0;           ///< the epoch whose loss became infinite or NaN; 0: none
  bool finished = false;             ///< all epochs are done
  /// Test images for each training image if each seed has a split of its own; 0: all have the same.
  double test_to_train = 0;
  /// The first epoch with the test accuracy, 0 if there was none.
  int64_t epochs_to(double accuracy) const;
};

/// What is going on, after each step.
struct Progress {
  size_t run, runs;  ///< run counts from 1
  const Run& current;
  const std::vector<Run>& all;  ///< up to the current one
  int64_t epoch, epochs;
  double loss;      ///< mean of this epoch's steps so far
  bool epoch_done;  ///< or given up: see Run::diverged_in
  double seconds_left;
};

/// Trains every combination. Within a seed all runs share the split, the initial values of equally
/// named parameters, and the batches. Stops early when `stop` says so; the last run is then the one
/// that was under way. After each epoch the file `checkpoint` has all that it takes to go on; if it
/// is there at first, its runs and epochs are not done again, and the result has the same bits.
/// `enter` is called before it is read, once options and data are known to be right, with the
/// data's checksum; whether there is anything to do. Data that change meanwhile are an error.
std::vector<Run> compare(const CompareOptions& options,
                         const std::function<void(const Progress&)>& progress,
                         const std::function<bool()>& stop, const std::string& checkpoint,
                         const std::function<bool(const std::string& data_checksum)>& enter);

}  // namespace gradus::lab
