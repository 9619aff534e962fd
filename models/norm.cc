#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/models/norm.h>

namespace gradus {

const char* name(Norm norm) {
  constexpr const char* names[] = {"none", "batch", "layer"};
  return names[static_cast<int>(norm)];
}

Norm norm_from(std::string_view text) {
  for (Norm norm : {Norm::none, Norm::batch, Norm::layer})
    if (text == name(norm)) return norm;
  throw Error(fmt::format("norm: '{}' is none of none, batch, layer", text));
}

AnyNorm feature_norm(Norm norm, int64_t features, bool sequences, bool relu) {
  const Activation activation = relu ? Activation::relu : Activation::none;
  if (norm == Norm::batch)
    return BatchNorm(features, {.channels_last = sequences, .activation = activation});
  if (norm == Norm::layer) return LayerNorm(features, {.activation = activation});
  return NoNorm(activation);
}

AnyNorm image_norm(Norm norm, int64_t channels, int64_t height, int64_t width, bool relu) {
  const Activation activation = relu ? Activation::relu : Activation::none;
  if (norm == Norm::batch) return BatchNorm(channels, {.activation = activation});
  if (norm == Norm::layer)
    return LayerNorm(Shape{channels, height, width}, {.activation = activation});
  return NoNorm(activation);
}

}  // namespace gradus
