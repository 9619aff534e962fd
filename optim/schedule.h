#pragma once
#include <cstdint>
#include <functional>

namespace gradus {

/// The learning rate's factor at a step, counted from 0: optimizer.set_lr_factor(schedule(step)).
using Schedule = std::function<double(int64_t step)>;

/// 1
Schedule constant_schedule();
/// gamma^floor(step / period)
Schedule step_schedule(int64_t period, double gamma = 0.1);
/// From 1 down to `lowest` along half a cosine over `steps` steps, then `lowest` (Loshchilov &
/// Hutter 2017, equation 5, without restarts); PyTorch's CosineAnnealingLR goes up again.
Schedule cosine_schedule(int64_t steps, double lowest = 0);
/// (step + 1) / steps for the first `steps` steps (Goyal et al. 2017, section 2.2), then `after`
/// from its step 0.
Schedule warmup_schedule(int64_t steps, Schedule after = constant_schedule());

}  // namespace gradus
