#include <gradus/base/detail/named.h>
#include <gradus/layers/batch_norm.h>
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
  AnyNorm (*over_features)(int64_t features, Activation activation);
  AnyNorm (*over_images)(int64_t channels, int64_t height, int64_t width, Activation activation);
};

constexpr NormRow kNorms[] = {
    {Norm::none, "none", false, RecurrentPlace::nowhere,
     [](int64_t, Activation a) -> AnyNorm { return NoNorm(a); },
     [](int64_t, int64_t, int64_t, Activation a) -> AnyNorm { return NoNorm(a); }},
    {Norm::batch, "batch", true, RecurrentPlace::projection,
     [](int64_t features, Activation a) -> AnyNorm {
       return BatchNorm(features, {.channels_last = true, .activation = a});
     },
     [](int64_t channels, int64_t, int64_t, Activation a) -> AnyNorm {
       return BatchNorm(channels, {.activation = a});
     }},
    {Norm::layer, "layer", false, RecurrentPlace::cell,
     [](int64_t features, Activation a) -> AnyNorm {
       return LayerNorm(features, {.activation = a});
     },
     [](int64_t channels, int64_t height, int64_t width, Activation a) -> AnyNorm {
       return LayerNorm(Shape{channels, height, width}, {.activation = a});
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

AnyNorm feature_norm(Norm norm, int64_t features, Activation activation) {
  return row_of(norm).over_features(features, activation);
}

AnyNorm image_norm(Norm norm, int64_t channels, int64_t height, int64_t width,
                   Activation activation) {
  return row_of(norm).over_images(channels, height, width, activation);
}

}  // namespace gradus
