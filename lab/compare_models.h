#pragma once
#include <gradus/data/dataset.h>
#include <gradus/layers/any_module.h>
#include <gradus/models/norm.h>

#include <span>

namespace gradus::lab {

/// A model that `compare` trains and `gradcheck --model` checks.
struct ModelRow {
  const char* name;
  /// One for images or sequences like these.
  AnyModule (*make)(Norm norm, const Dataset& data);
  /// What training shows in a batch's place, `black` being the least value of its images; null: the
  /// batch itself.
  Tensor (*augment)(const Tensor& x, double black, Generator& generator) = nullptr;
  const char* augmentation = "";  ///< in words: what the model is shown
  /// The logits of sequences with their lengths; null: it reads images alone.
  Tensor (*of_sequences)(AnyModule& model, const Dataset& batch) = nullptr;

  bool reads_sequences() const { return of_sequences != nullptr; }
  /// The logits of a batch.
  Tensor run(AnyModule& model, const Dataset& batch) const {
    return batch.has("lengths") ? of_sequences(model, batch) : model(batch.x);
  }
};

/// The names of the norms that are compared.
std::vector<std::string> norm_names();

std::span<const ModelRow> all_models();
/// An error that lists the names if it is none of them.
const ModelRow& find_model(std::string_view name);

}  // namespace gradus::lab
