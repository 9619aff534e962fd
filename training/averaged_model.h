#pragma once
#include <gradus/layers/module.h>

#include <concepts>
#include <optional>

namespace gradus {

namespace detail {
void update_average(Module& average, Module& model, std::optional<double> decay,
                    int64_t n_averaged);
}

/// A copy of a model whose parameters are the mean of what that model's were at each update:
/// PyTorch's torch.optim.swa_utils.AveragedModel, with get_ema_multi_avg_fn where there is a decay.
///
///     AveragedModel average(model, 0.999);
///     for (...) { optimizer.step(); average.update_parameters(model); }
///     average.module.eval();
///     population_statistics(average.module, [&] { for (const Batch& b : ...) average.module(b.x);
///     });
///
/// Buffers are copied from the model: a BatchNorm's statistics are those of the model's weights,
/// not of the average's, until population_statistics() has put the right ones there.
///
/// In a Checkpoint: add("average", average.module).add("n_averaged", average.n_averaged).
template <std::derived_from<Module> M>
class AveragedModel {
 public:
  /// decay: the first update copies, and then average = decay average + (1 - decay) parameter, an
  /// exponential moving average; none: all updates count the same (Izmailov et al. 2018). Errors: a
  /// decay outside [0, 1].
  explicit AveragedModel(const M& model, std::optional<double> decay = {})
      : module(model), decay_(decay) {
    (check)(!decay || (*decay >= 0 && *decay <= 1), "AveragedModel: decay {} must lie in [0, 1]",
            decay.value_or(0));
  }
  /// Takes the model's parameters as they are now. Errors: one whose parameters or buffers are not
  /// those of the average by name, shape and dtype; then nothing changes.
  void update_parameters(M& model) {
    detail::update_average(module, model, decay_, n_averaged);
    ++n_averaged;
  }

  M module;                ///< the average
  int64_t n_averaged = 0;  ///< of how many updates

 private:
  std::optional<double> decay_;
};

}  // namespace gradus
