#include "lab/compare_models.h"

#include <gradus/autograd/ops/shape.h>
#include <gradus/base/detail/named.h>
#include <gradus/data/augment.h>
#include <gradus/models/cnn.h>
#include <gradus/models/mlp.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/models/transformer.h>

namespace gradus::lab {

namespace {

/// Images as the rows that a sequence model reads: (N, C, H, W) -> (N, H, C W).
class RowTransformer : public UnaryModule {
 public:
  explicit RowTransformer(Transformer transformer) : transformer_(std::move(transformer)) {}
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  Tensor forward(const Tensor& x, const Tensor& lengths) {
    return transformer_.forward(x.ndim() == 4 ? flatten(transpose(x, 1, 2), 2) : x, lengths);
  }
  void visit(Visitor& visitor) override { visitor.module("transformer", transformer_); }
  std::string describe() const override { return "RowTransformer"; }

 private:
  Transformer transformer_;
};

template <class Model>
Tensor of_sequences(AnyModule& model, const Dataset& batch) {
  const ForwardScope scope(*model);
  return static_cast<Model&>(*model).forward(batch.x, batch["lengths"]);
}

/// Steps of a sequence, or rows of an image, and the features of each.
int64_t steps(const Dataset& data) { return data.x.size(data.x.ndim() - 2); }
int64_t features(const Dataset& data) {
  return data.x.size(-1) * (data.x.ndim() == 4 ? data.x.size(1) : 1);
}

int64_t channels(const Dataset& data) { return data.x.size(1); }
int64_t height(const Dataset& data) { return data.x.size(2); }
int64_t width(const Dataset& data) { return data.x.size(3); }

constexpr ModelRow kModels[] = {
    {.name = "cnn",
     .make = [](Norm norm, const Dataset& data) -> AnyModule {
       return Cnn(channels(data), height(data), width(data), data.classes,
                  {.channels = {16, 32}, .norm = norm});
     },
     .augment = [](const Tensor& x, double black,
                   Generator& generator) { return random_shift(x, 1, 0.5, black, generator); },
     .augmentation = "half of its images moved by up to a pixel"},
    {.name = "rnn",
     .make = [](Norm norm, const Dataset& data) -> AnyModule {
       return RnnClassifier(features(data), data.classes, {.hidden = 64, .norm = norm});
     },
     .of_sequences = of_sequences<RnnClassifier>},
    {.name = "transformer",
     .make = [](Norm norm, const Dataset& data) -> AnyModule {
       return RowTransformer(
           Transformer(steps(data), features(data), data.classes, {.norm = norm}));
     },
     .of_sequences = of_sequences<RowTransformer>},
    {.name = "mlp",
     .make = [](Norm norm, const Dataset& data) -> AnyModule {
       return Mlp(channels(data) * height(data) * width(data), data.classes,
                  {.hidden = {64, 64}, .norm = norm});
     }},
};

}  // namespace

std::vector<std::string> norm_names() {
  return {name(Norm::none), name(Norm::batch), name(Norm::layer)};
}

std::span<const ModelRow> all_models() { return kModels; }
const ModelRow& find_model(std::string_view name) { return detail::find("model", kModels, name); }

}  // namespace gradus::lab
