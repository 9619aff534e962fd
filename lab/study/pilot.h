#pragma once
#include <string>
#include <vector>

#include "lab/study/lab.h"

namespace gradus::lab {

/// The first of the pilot's seeds, which neither reports nor tuning use, and how many they are.
constexpr uint64_t kPilotSeed = 2'000'001;
constexpr int64_t kPilotSeeds = 10;

/// What all of it takes on two cores, about.
constexpr double kPilotSeconds = 110;

/// What a pilot found of an endpoint that is a test.
struct Piloted : Measured {
  std::string endpoint;
};
/// lab/study/pilot.csv, which is part of the program.
const std::vector<Piloted>& pilot();
/// When and on what it was run: the notes above the table.
const std::vector<std::string>& pilot_notes();

/// Runs what options name with the pilot's seeds into options.results.output, and writes pilot.csv
/// there: endpoints of these experiments, and of the others what is part of the program.
void run_pilot(LabOptions options, const std::function<void(const LabProgress&)>& progress,
               const std::function<bool()>& stop);

/// What follows from a pilot for an endpoint, at the strictest level of Holm's family.
struct Plan {
  double effect;   ///< that should be seen
  int64_t needed;  ///< seeds for kPower; 0: no number suffices
  int64_t seeds;   ///< that a run has
  double power;    ///< of these
  double seen;     ///< the effect that these see with kPower; 0: they see none
};
constexpr double kPower = 0.9;
/// The effect is twice the margin, so that what is seen is most likely beyond it, as a verdict
/// demands; or, where that is more, the end nearest to 0 of the pilot's interval of 60 % (safeguard
/// power: Perugini et al. 2014).
Plan plan_of(const Endpoint& endpoint, const Piloted& piloted, const StudyOptions& options);

}  // namespace gradus::lab
