#pragma once
#include <functional>
#include <string>

#include "lab/study/lab.h"

namespace gradus::lab {

/// The first of the seeds to choose rates by, which no report uses, and how many they are.
constexpr uint64_t kTuningSeed = 1'000'001;
constexpr int64_t kTuningSeeds = 8;

/// Chooses the rate of every Tunable of the experiments that options name and writes rates.csv into
/// the folder of options.results: those that were tuned, and the others as they are in
/// tuned_rates(). With images of a folder only what reads them is tuned. `line` is told each one.
void tune_all(const LabOptions& options, const std::function<void(const std::string&)>& line,
              const std::function<bool()>& stop);
/// What all of it takes on two cores, about.
constexpr double kTuningSeconds = 400;

}  // namespace gradus::lab
