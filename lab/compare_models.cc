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
  Tensor forward(const Tensor& x) override {
    return transformer_.forward(flatten(transpose(x, 1, 2), 2));
  }
  void visit(Visitor& visitor) override { visitor.module("transformer", transformer_); }
  std::string describe() const override { return "RowTransformer"; }

 private:
  Transformer transformer_;
};

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
       return RnnClassifier(channels(data) * width(data), data.classes,
                            {.hidden = 64, .norm = norm});
     }},
    {.name = "transformer",
     .make = [](Norm norm, const Dataset& data) -> AnyModule {
       return RowTransformer(
           Transformer(height(data), channels(data) * width(data), data.classes, {.norm = norm}));
     }},
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
