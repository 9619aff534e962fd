#pragma once
#include <gradus/gradcheck/samples.h>
#include <gradus/models/cnn.h>
#include <gradus/models/mlp.h>
#include <gradus/models/rnn_classifier.h>
#include <gradus/models/transformer.h>

#include <string>

namespace gradus::test {

inline const char* const kModels[] = {"cnn", "rnn", "transformer", "mlp"};
inline const std::vector<Norm> kNorms = all_norms();

/// A small model of each kind, for `inputs` of 10 classes; `width` is the mlp's and the rnn's.
inline AnyModule make(const std::string& model, const NormChoice& norm, int64_t width = 32) {
  if (model == "cnn") return Cnn(1, 8, 6, 10, {.channels = {8, 16}, .norm = norm});
  if (model == "rnn") return RnnClassifier(6, 10, {.hidden = width, .norm = norm});
  if (model == "transformer") return Transformer(8, 6, 10, {.norm = norm});
  return Mlp(48, 10, {.hidden = {width, width}, .norm = norm});
}

inline Tensor inputs(const std::string& model, int64_t batch, uint64_t seed) {
  const Shape shape = model == "cnn"   ? Shape{batch, 1, 8, 6}
                      : model == "mlp" ? Shape{batch, 48}
                                       : Shape{batch, 8, 6};
  return raw::cast(sample(shape, seed).set_requires_grad(false), DType::f32);
}

}  // namespace gradus::test
