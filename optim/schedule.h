#pragma once
#include <gradus/optim/improvement.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace gradus {

/// The learning rate's factor at a step, counted from 0: optimizer.set_lr_factor(schedule(step)).
using Schedule = std::function<double(int64_t step)>;

/// 1
Schedule constant_schedule();
/// gamma^floor(step / period)
Schedule step_schedule(int64_t period, double gamma = 0.1);
/// gamma^(how many of the milestones are at or before the step)
Schedule multi_step_schedule(const std::vector<int64_t>& milestones, double gamma = 0.1);
/// gamma^step
Schedule exponential_schedule(double gamma);
/// (1 - step / steps)^power for `steps` steps, then 0
Schedule polynomial_schedule(int64_t steps, double power = 1);
/// From 1 down to `lowest` along half a cosine over `steps` steps, then `lowest` (Loshchilov &
/// Hutter 2017, equation 5, without restarts); PyTorch's CosineAnnealingLR goes up again.
Schedule cosine_schedule(int64_t steps, double lowest = 0);
/// The same again and again, the first time over `steps` steps, then each time over `mult` times as
/// many (Loshchilov & Hutter 2017, equation 5); PyTorch's CosineAnnealingWarmRestarts.
Schedule cosine_restarts_schedule(int64_t steps, int64_t mult = 1, double lowest = 0);
/// From 1 / div_factor up to 1 in the share `pct_start` of `steps` steps, then down to
/// 1 / (div_factor final_div_factor), where it stays, each along half a cosine (Smith & Topin
/// 2018); PyTorch's OneCycleLR, whose max_lr is the optimizer's rate here, without its cycle of
/// momentum.
Schedule one_cycle_schedule(int64_t steps, double pct_start = 0.3, double div_factor = 25,
                            double final_div_factor = 1e4);
/// (step + 1) / steps for the first `steps` steps (Goyal et al. 2017, section 2.2), then `after`
/// from its step 0.
Schedule warmup_schedule(int64_t steps, Schedule after = constant_schedule());

/// What ReduceOnPlateau is made of, by PyTorch's names.
struct PlateauOptions {
  double factor = 0.1;    ///< what the rate is multiplied by
  int64_t patience = 10;  ///< how many epochs without improvement are borne
  Improvement improvement = {.threshold = 1e-4, .relative = true};  ///< what is one
  int64_t cooldown = 0;  ///< epochs after a reduction in which none counts as bad
  double lowest = 0;     ///< least factor of the rate
};

/// Reduces the rate when a metric has stopped improving; PyTorch's ReduceLROnPlateau, whose min_lr
/// is a factor here, and whose eps is left out:
///
///     optimizer.set_lr_factor(plateau.step(validation_loss));
///
/// What it goes on from are its numbers below: a Checkpoint takes each.
class ReduceOnPlateau {
 public:
  /// Errors: a factor outside [0, 1), a count below 0, a threshold or a lowest factor that is
  /// negative or NaN.
  explicit ReduceOnPlateau(PlateauOptions options = {});
  /// Takes an epoch's metric; returns the factor from here on.
  double step(double metric);

  double lr_factor = 1;                              ///< so far
  double best;                                       ///< metric so far
  int64_t num_bad_epochs = 0, cooldown_counter = 0;  ///< as PyTorch counts them

 private:
  PlateauOptions options_;
};

}  // namespace gradus
