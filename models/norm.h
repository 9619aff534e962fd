#pragma once
#include <gradus/layers/norm.h>

#include <string_view>

namespace gradus {

/// The normalization that a model is built with.
enum class Norm { none, batch, layer };

const char* name(Norm norm);
/// The inverse of name(); an error that lists the names.
Norm norm_from(std::string_view name);

/// For features in the last axis: BatchNorm over all other axes, or LayerNorm over the features;
/// sequences are (N, T, C). With relu, max(y, 0) for the norm's y.
AnyNorm feature_norm(Norm norm, int64_t features, bool sequences = false, bool relu = false);
/// For images (N, C, H, W): BatchNorm over N, H, W (Ioffe & Szegedy 2015, section 3.2), or
/// LayerNorm over C, H, W (Ba et al. 2016, section 6.7).
AnyNorm image_norm(Norm norm, int64_t channels, int64_t height, int64_t width, bool relu = false);

}  // namespace gradus
