#include <gradus/base/error.h>
#include <gradus/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace gradus {

namespace {

/// From `from` to `to`, along half a cosine, at the share `part` of the way.
double along_cosine(double from, double to, double part) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * part)) / 2;
}

double part_of(int64_t step, int64_t steps) {
  return static_cast<double>(step) / static_cast<double>(steps);
}

}  // namespace

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

Schedule multi_step_schedule(const std::vector<int64_t>& milestones, double gamma) {
  check(gamma >= 0, "multi_step_schedule: gamma {}", gamma);
  return [=](int64_t step) {
    const auto passed =
        std::ranges::count_if(milestones, [step](int64_t milestone) { return milestone <= step; });
    return std::pow(gamma, static_cast<double>(passed));
  };
}

Schedule exponential_schedule(double gamma) {
  check(gamma >= 0, "exponential_schedule: gamma {}", gamma);
  return [=](int64_t step) { return std::pow(gamma, static_cast<double>(step)); };
}

Schedule polynomial_schedule(int64_t steps, double power) {
  check(steps > 0 && power >= 0, "polynomial_schedule: {} steps, power {}", steps, power);
  return [=](int64_t step) { return std::pow(1 - part_of(std::min(step, steps), steps), power); };
}

Schedule cosine_schedule(int64_t steps, double lowest) {
  check(steps > 0, "cosine_schedule: {} steps, must be positive", steps);
  check(lowest >= 0 && lowest <= 1,
        "cosine_schedule: it ends at {}, must be a factor of the learning rate in [0, 1]", lowest);
  return
      [=](int64_t step) { return along_cosine(1, lowest, part_of(std::min(step, steps), steps)); };
}

Schedule cosine_restarts_schedule(int64_t steps, int64_t mult, double lowest) {
  check(steps > 0 && mult > 0 && lowest >= 0 && lowest <= 1,
        "cosine_restarts_schedule: {} steps, then {} times as many, down to {}", steps, mult,
        lowest);
  return [=](int64_t step) {
    if (mult == 1) return along_cosine(1, lowest, part_of(step % steps, steps));
    int64_t period = steps;
    for (; step >= period; step -= std::exchange(period, period * mult))
      if (period > std::numeric_limits<int64_t>::max() / mult) return 1.0;
    return along_cosine(1, lowest, part_of(step, period));
  };
}

Schedule one_cycle_schedule(int64_t steps, double pct_start, double div_factor,
                            double final_div_factor) {
  check(steps > 0 && pct_start >= 0 && pct_start <= 1 && div_factor >= 1 && final_div_factor >= 1 &&
            std::isfinite(div_factor * final_div_factor),
        "one_cycle_schedule: {} steps, {} of them up from 1 / {}, then down to 1 / {} of that",
        steps, pct_start, div_factor, final_div_factor);
  const double start = 1 / div_factor, lowest = start / final_div_factor,
               top = pct_start * static_cast<double>(steps) - 1,
               end = static_cast<double>(steps) - 1;
  return [=](int64_t step) {
    const auto at = static_cast<double>(step);
    if (at <= top) return top > 0 ? along_cosine(start, 1, at / top) : 1.0;
    return at < end ? along_cosine(1, lowest, (at - top) / (end - top)) : lowest;
  };
}

Schedule warmup_schedule(int64_t steps, Schedule after) {
  check(steps >= 0, "warmup_schedule: {} steps", steps);
  return [steps, after = std::move(after)](int64_t step) {
    return step < steps ? static_cast<double>(step + 1) / static_cast<double>(steps)
                        : after(step - steps);
  };
}

ReduceOnPlateau::ReduceOnPlateau(PlateauOptions options)
    : best(options.improvement.worst()), options_(options) {
  check(options.factor >= 0 && options.factor < 1, "ReduceOnPlateau: factor {} must lie in [0, 1)",
        options.factor);
  check(options.patience >= 0 && options.cooldown >= 0,
        "ReduceOnPlateau: patience {} and cooldown {} must not be negative", options.patience,
        options.cooldown);
  check(options.improvement.threshold >= 0 && options.lowest >= 0,
        "ReduceOnPlateau: threshold {} and lowest factor {} must not be negative",
        options.improvement.threshold, options.lowest);
}

double ReduceOnPlateau::step(double metric) {
  const bool better = options_.improvement(metric, best);
  if (better) best = metric;
  num_bad_epochs = better ? 0 : num_bad_epochs + 1;
  if (cooldown_counter > 0) {
    --cooldown_counter;
    num_bad_epochs = 0;
  }
  if (num_bad_epochs > options_.patience) {
    lr_factor = std::max(lr_factor * options_.factor, std::min(lr_factor, options_.lowest));
    cooldown_counter = options_.cooldown;
    num_bad_epochs = 0;
  }
  return lr_factor;
}

}  // namespace gradus
