#include <gradus/base/error.h>
#include <gradus/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradus {

Schedule constant_schedule() {
  return [](int64_t) { return 1.0; };
}

Schedule step_schedule(int64_t period, double gamma) {
  check(period > 0 && gamma >= 0, "step_schedule: period {} and gamma {}", period, gamma);
  return [=](int64_t step) {
    const int64_t periods = step / period;
    return std::pow(gamma, static_cast<double>(periods));
  };
}

Schedule cosine_schedule(int64_t steps, double lowest) {
  check(steps > 0, "cosine_schedule: {} steps, must be positive", steps);
  check(lowest >= 0 && lowest <= 1,
        "cosine_schedule: it ends at {}, must be a factor of the learning rate in [0, 1]", lowest);
  return [=](int64_t step) {
    const double part = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
    return lowest + (1 - lowest) * (1 + std::cos(std::numbers::pi * part)) / 2;
  };
}

Schedule warmup_schedule(int64_t steps, Schedule after) {
  check(steps >= 0, "warmup_schedule: {} steps", steps);
  return [steps, after = std::move(after)](int64_t step) {
    return step < steps ? static_cast<double>(step + 1) / static_cast<double>(steps)
                        : after(step - steps);
  };
}

}  // namespace gradus
