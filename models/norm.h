#pragma once
#include <gradus/layers/norm.h>

#include <optional>
#include <string_view>
#include <vector>

namespace gradus {

/// The normalization that a model is built with; each is a row in norm.cc.
enum class Norm {
  none,
  batch,
  layer,
  layer_channel,  ///< of images with a weight a channel, not one an element; else as layer
};

/// In their order.
std::vector<Norm> all_norms();
/// "none", "batch", "layer", "layer_channel"
const char* name(Norm norm);
/// The inverse of name(); an error that lists the names.
Norm norm_from(std::string_view name);

/// Whether the other examples of a batch enter an example's y in training.
bool depends_on_batch(Norm norm);

/// How a norm of a model is set.
struct NormOptions {
  double eps = 1e-5;                     ///< inside the root
  std::optional<double> momentum = 0.1;  ///< of running statistics: see BatchNormLayerOptions
  int64_t ghost_size = 0;                ///< likewise
};

/// What a model takes for its norms: `Norm::batch`, or `{Norm::batch, {.ghost_size = 8}}`.
struct NormChoice : NormOptions {
  /// Of this kind, set so.  NOLINTNEXTLINE(google-explicit-constructor)
  NormChoice(Norm kind_ = Norm::none, const NormOptions& options = {})
      : NormOptions(options), kind(kind_) {}
  Norm kind;  ///< which
};

/// For features in the last axis, activation(y) for the norm's y: BatchNorm over all other axes, or
/// LayerNorm over the features.
AnyNorm feature_norm(const NormChoice& norm, int64_t features,
                     Activation activation = Activation::none);
/// For images (N, C, H, W): BatchNorm over N, H, W (Ioffe & Szegedy 2015, section 3.2), or
/// LayerNorm over C, H, W (Ba et al. 2016, section 6.7), with a weight a channel a GroupNorm of one
/// group.
AnyNorm image_norm(const NormChoice& norm, int64_t channels, int64_t height, int64_t width,
                   Activation activation = Activation::none);

/// Where a recurrent net has its norm.
enum class RecurrentPlace {
  nowhere,
  projection,  ///< on the projected inputs of all steps (Laurent et al. 2016)
  cell,        ///< on the summed inputs of each step (Ba et al. 2016, section 3.1)
};
/// Where this one stands if nothing else is asked for.
RecurrentPlace recurrent_place(Norm norm);

}  // namespace gradus
