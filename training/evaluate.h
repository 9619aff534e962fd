#pragma once
#include <gradus/data/dataset.h>
#include <gradus/layers/any_module.h>

#include <concepts>

namespace gradus {

/// What evaluate() finds of labelled data.
struct Evaluation {
  double loss = 0;      ///< mean of the losses of the items that count
  double accuracy = 0;  ///< share of those whose largest logit is the label's
  Tensor losses = {};  ///< (N), cross entropy of each item, in the logits' dtype; 0: does not count
  Tensor correct = {};  ///< (N) bool, whether each item was right
};

/// With which statistics the BatchNorms of an evaluated model transform. Those of a whole data set
/// are running ones, once population_statistics() has put them there.
enum class NormStatistics {
  running,  ///< the running ones, as in evaluation
  batch     ///< each evaluated batch's own, as in training
};

/// How evaluate() goes through the data.
struct EvaluateOptions {
  int64_t batch_size = 256;                             ///< items that are computed at once
  NormStatistics statistics = NormStatistics::running;  ///< of BatchNorms that are not frozen
};

/// Loss and accuracy of `model`, which `logits` runs, a function of a batch (a Dataset of B of the
/// rows) that gives (B, classes), on data with i64 labels y (N): in evaluation
/// mode (no dropout), in batches in the data's order, recorded by no tape. Afterwards each module
/// has the mode and each buffer the elements it had, also where something throws.
///
/// With batch statistics BatchNorms train meanwhile. Every batch is full then, so that all
/// statistics are of min(batch_size, N) items: the last one begins with items that were counted
/// before. Data sorted by class makes batches of one class; data[randperm(N)] is in random order.
///
/// An item whose label is cross_entropy's ignore_index does not count.
///
/// Errors: those of check_dataset(), no items that count, labels that are not (N), a batch size
/// below 1, logits of another shape.
template <std::invocable<const Dataset&> F>
Evaluation evaluate(Module& model, const Dataset& data, F&& logits,
                    const EvaluateOptions& options = {});

namespace detail {

Evaluation evaluate_by(Module& model, const Dataset& data,
                       const std::function<Tensor(const Dataset&)>& logits,
                       const EvaluateOptions& options);

/// An error: the data has lengths, and the model's forward takes none.
[[noreturn]] void throw_no_lengths(const Dataset& data, const Module& model);

/// model(x), or, where there are lengths, model.forward(x, lengths).
template <std::derived_from<Module> M>
Tensor logits_of(M& model, const Dataset& batch) {
  const ForwardScope scope(model);
  if (batch.has("lengths")) {
    if constexpr (requires { model.forward(batch.x, batch["lengths"]); })
      return model.forward(batch.x, batch["lengths"]);
    throw_no_lengths(batch, model);
  }
  return model.forward(batch.x);
}

}  // namespace detail

template <std::invocable<const Dataset&> F>
Evaluation evaluate(Module& model, const Dataset& data, F&& logits,
                    const EvaluateOptions& options) {
  return detail::evaluate_by(model, data, logits, options);
}

/// The same of a model's forward(x), or, where the data has "lengths", forward(x, lengths); an
/// error where it takes none.
template <std::derived_from<Module> M>
Evaluation evaluate(M& model, const Dataset& data, const EvaluateOptions& options = {}) {
  return detail::evaluate_by(
      model, data, [&](const Dataset& batch) { return detail::logits_of(model, batch); }, options);
}
template <class Base>
Evaluation evaluate(Any<Base>& model, const Dataset& data, const EvaluateOptions& options = {}) {
  return evaluate(*model, data, options);
}

}  // namespace gradus
