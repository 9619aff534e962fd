#pragma once
#include <gradus/optim/improvement.h>

#include <cstdint>

namespace gradus {

/// Whether a metric has stopped improving (Prechelt 1998):
///
///     EarlyStopping stopping(5);
///     while (!stopping.step(validation_loss())) ...
///
/// What it goes on from are its numbers below: a Checkpoint takes each.
class EarlyStopping {
 public:
  /// Stops after `patience` epochs in a row that were no improvement. Errors: a patience below 1, a
  /// threshold that is negative or NaN.
  explicit EarlyStopping(int64_t patience = 10, Improvement improvement = {});
  /// Takes an epoch's metric, in which NaN is no improvement; returns whether to stop.
  bool step(double metric);
  /// Whether the last metric is the best so far: when to keep the weights.
  bool improved() const { return num_bad_epochs == 0; }

  double best;                 ///< metric so far
  int64_t num_bad_epochs = 0;  ///< since then

 private:
  int64_t patience_;
  Improvement improvement_;
};

}  // namespace gradus
