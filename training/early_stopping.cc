#include <gradus/base/error.h>
#include <gradus/training/early_stopping.h>

namespace gradus {

EarlyStopping::EarlyStopping(int64_t patience, Improvement improvement)
    : best(improvement.worst()), patience_(patience), improvement_(improvement) {
  check(patience > 0, "EarlyStopping: a patience of {} epochs", patience);
  check(improvement.threshold >= 0, "EarlyStopping: threshold {} must not be negative",
        improvement.threshold);
}

bool EarlyStopping::step(double metric) {
  const bool better = improvement_(metric, best);
  if (better) best = metric;
  num_bad_epochs = better ? 0 : num_bad_epochs + 1;
  return num_bad_epochs >= patience_;
}

}  // namespace gradus
