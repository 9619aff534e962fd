#pragma once
#include <gradus/autograd/ops/norm.h>
#include <gradus/layers/norm.h>

#include <functional>
#include <optional>

namespace gradus {

/// What a BatchNorm has beside its channels.
struct BatchNormLayerOptions {
  double eps = 1e-5;  ///< inside the root
  /// Weight of the new value in the running statistics; none: their cumulative average.
  std::optional<double> momentum = 0.1;
  bool affine = true;                        ///< with weight and bias
  bool track_running_stats = true;           ///< otherwise batch statistics in evaluation, too
  bool channels_last = false;                ///< x is (N, T, C)
  int64_t ghost_size = 0;                    ///< if above 0, samples that share statistics
  Activation activation = Activation::none;  ///< of the result
};

/// What x was normalized by: constants.
struct BatchStatistics {
  Tensor mean, var;   ///< (C); var biased
  int64_t count;      ///< values a channel had
  Tensor exact_mean;  ///< (C), f64: the mean, not rounded to x's dtype
};

/// What a BatchNorm is to normalize by.
struct GivenStatistics {
  Tensor mean, var;   ///< (C), of x's dtype, also of the recording tape; var biased
  int64_t count = 0;  ///< values a channel had, if the running statistics are to take them, else 0
};

/// Batch Normalization (Ioffe & Szegedy 2015, algorithm 1), per channel over all other axes:
/// y = activation((x - mean) / sqrt(var + eps) * weight + bias), in training with the batch's mean
/// and biased variance, in evaluation with the running ones.
///
/// x: (N, C), (N, C, L), (N, C, H, W), or channels last (N, T, C)   y: like x
///
/// PyTorch's conventions: running_var keeps the unbiased variance, momentum weighs the new value.
/// Positions that a mask leaves out enter neither statistics nor gradient, and y is 0 there. One
/// value per channel in training is an error. But where a mask leaves one of several, as in the
/// last steps of sequences, it is transformed as in evaluation by the running statistics, if there
/// are any, which stay as they are, as they do where it leaves none.
///
/// With a ghost_size (Hoffer et al. 2017, Ghost Batch Normalization) training takes statistics of
/// groups of so many neighbouring samples; what is left over joins the last group. The running
/// statistics take the mean of the groups' means and of their unbiased variances, once a batch.
class BatchNorm : public NormModule {
 public:
  /// Errors: no channels, a momentum outside [0, 1], a ghost_size below 0.
  explicit BatchNorm(int64_t channels, BatchNormLayerOptions options = {});
  using NormModule::forward;
  /// valid: (N), (N, L), (N, H, W), (N, T).
  Tensor forward(const Tensor& x, const Tensor& valid) override;

  /// While frozen, evaluation's transform in training, too, and no change of the running
  /// statistics; train() does not undo it. Module::freeze() does it as well, and freezes weight and
  /// bias.
  void freeze_statistics(bool frozen = true);
  /// Whether they are frozen.
  bool frozen() const { return frozen_; }
  /// The running statistics as they were at construction.
  void reset_running_stats();

  void visit(Visitor& visitor) override;
  std::string describe() const override;
  /// How many channels, C.
  int64_t channels() const { return channels_; }
  /// What it was made with.
  const BatchNormLayerOptions& options() const { return options_; }

  Parameter weight, bias;                                 ///< (C)
  Buffer running_mean, running_var, num_batches_tracked;  ///< (C), (C), ()
  /// If set, told the statistics of each forward that normalizes by the batch's own, of each ghost
  /// group, in order, once this layer's forward holds; a recurrent net has many in one forward of
  /// its own. If it throws, the forward is refused. A copy of the layer tells it, too.
  std::function<void(const BatchStatistics&)> observer;
  /// If set, asked for the statistics of each forward that would normalize by the batch's own, but
  /// for ghost groups; what it gives takes their place, with a gradient through it. The observer is
  /// not told.
  std::function<GivenStatistics(const Tensor& x, const Tensor& valid)> statistics;

 protected:
  void on_freeze(bool frozen) override { frozen_ = frozen && options_.track_running_stats; }

 private:
  Tensor normalize_by(const Tensor& x, const BatchNormOptions& options,
                      const GivenStatistics& given);
  Tensor normalize(const Tensor& x, const BatchNormOptions& options,
                   std::optional<BatchStatistics>& own);
  Tensor normalize_groups(const Tensor& x, const BatchNormOptions& options);
  void update_running_stats(const Tensor& mean, const Tensor& var, double to_unbiased);

  int64_t channels_;
  BatchNormLayerOptions options_;
  bool frozen_ = false;
};

}  // namespace gradus
