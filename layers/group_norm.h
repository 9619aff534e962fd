#pragma once
#include <gradus/layers/norm.h>

namespace gradus {

/// What a GroupNorm has beside its groups and channels.
struct GroupNormLayerOptions {
  double eps = 1e-5;                         ///< inside the root
  bool affine = true;                        ///< with weight and bias
  Activation activation = Activation::none;  ///< of the result
};

/// Group Normalization (Wu & He 2018, section 3), each sample by itself, the same in training and
/// evaluation: over all positions of each group of channels / groups neighbouring channels,
/// y = activation((x - mean) / sqrt(var + eps) * weight + bias). With one group it is a LayerNorm
/// of images that has a weight a channel.
///
/// x: (N, C, ...)   weight, bias: (C)   y: like x
class GroupNorm : public NormModule {
 public:
  /// Errors: groups that do not divide the channels. In forward: groups of one value.
  GroupNorm(int64_t groups, int64_t channels, GroupNormLayerOptions options = {});
  using NormModule::forward;
  /// valid: (N). y is 0 where it is false, whatever x is.
  Tensor forward(const Tensor& x, const Tensor& valid) override;

  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight, bias;  ///< (C)

 private:
  int64_t groups_, channels_;
  GroupNormLayerOptions options_;
};

/// What an InstanceNorm has beside its channels: PyTorch's defaults.
struct InstanceNormLayerOptions {
  double eps = 1e-5;                         ///< inside the root
  bool affine = false;                       ///< with weight and bias
  Activation activation = Activation::none;  ///< of the result
};

/// Instance Normalization (Ulyanov et al. 2016): a GroupNorm with a group for each channel, so over
/// the positions of each sample and channel; at least two.
/// x: (N, C, L) or (N, C, H, W)   y: like x
class InstanceNorm : public GroupNorm {
 public:
  /// Errors: no channels.
  explicit InstanceNorm(int64_t channels, InstanceNormLayerOptions options = {});
  std::string describe() const override;
};

}  // namespace gradus
