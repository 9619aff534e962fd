#include <gradus/base/detail/named.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/group_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/models/norm.h>

#include <algorithm>

namespace gradus {

namespace {

struct NormRow {
  Norm norm;
  const char* name;
  bool depends_on_batch;
  RecurrentPlace recurrent_place;
  AnyNorm (*over_features)(const NormOptions& o, int64_t features, Activation activation);
  AnyNorm (*over_images)(const NormOptions& o, int64_t channels, int64_t height, int64_t width,
                         Activation activation);
};

AnyNorm layer_norm_of_features(const NormOptions& o, int64_t features, Activation a) {
  return LayerNorm(features, {.eps = o.eps, .activation = a});
}

constexpr NormRow kNorms[] = {
    {Norm::none, "none", false, RecurrentPlace::nowhere,
     [](const NormOptions&, int64_t, Activation a) -> AnyNorm { return NoNorm(a); },
     [](const NormOptions&, int64_t, int64_t, int64_t, Activation a) -> AnyNorm {
       return NoNorm(a);
     }},
    {Norm::batch, "batch", true, RecurrentPlace::projection,
     [](const NormOptions& o, int64_t features, Activation a) -> AnyNorm {
       return BatchNorm(features, {.eps = o.eps,
                                   .momentum = o.momentum,
                                   .channels_last = true,
                                   .ghost_size = o.ghost_size,
                                   .activation = a});
     },
     [](const NormOptions& o, int64_t channels, int64_t, int64_t, Activation a) -> AnyNorm {
       return BatchNorm(
           channels,
           {.eps = o.eps, .momentum = o.momentum, .ghost_size = o.ghost_size, .activation = a});
     }},
    {Norm::layer, "layer", false, RecurrentPlace::cell, layer_norm_of_features,
     [](const NormOptions& o, int64_t channels, int64_t height, int64_t width,
        Activation a) -> AnyNorm {
       return LayerNorm(Shape{channels, height, width}, {.eps = o.eps, .activation = a});
     }},
    {Norm::layer_channel, "layer_channel", false, RecurrentPlace::cell, layer_norm_of_features,
     [](const NormOptions& o, int64_t channels, int64_t, int64_t, Activation a) -> AnyNorm {
       return GroupNorm(1, channels, {.eps = o.eps, .activation = a});
     }},
};

const NormRow& row_of(Norm norm) {
  const auto row = std::find_if(std::begin(kNorms), std::end(kNorms),
                                [&](const NormRow& candidate) { return candidate.norm == norm; });
  check(row != std::end(kNorms), "norm: {} has no row in models/norm.cc", static_cast<int>(norm));
  return *row;
}

}  // namespace

std::vector<Norm> all_norms() {
  std::vector<Norm> norms;
  for (const NormRow& row : kNorms) norms.push_back(row.norm);
  return norms;
}

const char* name(Norm norm) { return row_of(norm).name; }
Norm norm_from(std::string_view name) { return detail::find("norm", kNorms, name).norm; }
bool depends_on_batch(Norm norm) { return row_of(norm).depends_on_batch; }
RecurrentPlace recurrent_place(Norm norm) { return row_of(norm).recurrent_place; }

AnyNorm feature_norm(const NormChoice& norm, int64_t features, Activation activation) {
  return row_of(norm.kind).over_features(norm, features, activation);
}

AnyNorm image_norm(const NormChoice& norm, int64_t channels, int64_t height, int64_t width,
                   Activation activation) {
  return row_of(norm.kind).over_images(norm, channels, height, width, activation);
}

}  // namespace gradus
