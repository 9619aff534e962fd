#pragma once
#include <gradus/layers/norm.h>

#include <string_view>
#include <vector>

namespace gradus {

/// The normalization that a model is built with; each is a row in norm.cc.
enum class Norm { none, batch, layer };

/// In their order.
std::vector<Norm> all_norms();
/// "none", "batch", "layer"
const char* name(Norm norm);
/// The inverse of name(); an error that lists the names.
Norm norm_from(std::string_view name);

/// Whether the other examples of a batch enter an example's y in training.
bool depends_on_batch(Norm norm);

/// For features in the last axis, activation(y) for the norm's y: BatchNorm over all other axes, or
/// LayerNorm over the features.
AnyNorm feature_norm(Norm norm, int64_t features, Activation activation = Activation::none);
/// For images (N, C, H, W): BatchNorm over N, H, W (Ioffe & Szegedy 2015, section 3.2), or
/// LayerNorm over C, H, W (Ba et al. 2016, section 6.7).
AnyNorm image_norm(Norm norm, int64_t channels, int64_t height, int64_t width,
                   Activation activation = Activation::none);

/// Where a recurrent net has its norm.
enum class RecurrentPlace {
  nowhere,
  projection,  ///< on the projected inputs of all steps (Laurent et al. 2016, section 3)
  cell,        ///< on the summed inputs of each step (Ba et al. 2016, section 3.1)
};
/// Where this one stands.
RecurrentPlace recurrent_place(Norm norm);

}  // namespace gradus
