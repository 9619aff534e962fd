#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/tape.h>
#include <gradus/training/detail/model_guard.h>
#include <gradus/training/evaluate.h>

#include <algorithm>

namespace gradus {

namespace {

/// Rows begin .. end, as views.
Dataset rows(const Dataset& data, int64_t begin, int64_t end) {
  return data.map([&](const Tensor& t) {
    Shape shape = t.shape();
    shape[0] = end - begin;
    return as_strided(t, shape, {t.strides(), static_cast<size_t>(t.ndim())},
                      begin * t.strides()[0]);
  });
}

/// The batch's losses and which are right, behind the `counted` that others have seen.
void note(const Tensor& logits, const Dataset& batch, int64_t counted, int64_t at,
          Evaluation& result) {
  check(logits.ndim() == 2 && logits.size(0) == batch.size() && logits.size(1) > 0,
        "evaluate: the logits of a batch of {} of {} are {}, must be (B, classes)", batch.size(),
        batch.name, logits.shape());
  const Tensor losses = cross_entropy(logits, batch.y, {.reduction = Reduction::none});
  const auto guesses = argmax(logits, 1).to_vector<int64_t>(),
             labels = batch.y.to_vector<int64_t>();
  if (!result.losses) result.losses = empty({result.correct.numel()}, losses.dtype());
  check_same_dtype("evaluate", result.losses, losses);
  dispatch_floating(losses.dtype(), "evaluate", [&]<class T>() {
    const raw::Contiguous from(losses);
    std::copy(from.data<T>() + counted, from.data<T>() + batch.size(),
              result.losses.mutable_data<T>() + at);
  });
  bool* const correct = result.correct.mutable_data<bool>() + at;
  for (size_t i = static_cast<size_t>(counted); i < labels.size(); ++i)
    correct[i - static_cast<size_t>(counted)] = guesses[i] == labels[i];
}

double sum_of(const Tensor& x) {
  double sum = 0;
  for (double value : x.to_vector<double>()) sum += value;
  return sum;
}

}  // namespace

void detail::throw_no_lengths(const Dataset& data, const Module& model) {
  fail(
      "evaluate: {} has lengths, and the forward of {} takes x alone; give a function that "
      "computes "
      "the logits of a batch",
      data.name, model.describe());
}

Evaluation detail::evaluate_by(Module& model, const Dataset& data,
                               const std::function<Tensor(const Dataset&)>& logits,
                               const EvaluateOptions& options) {
  check_dataset("evaluate", data);
  const int64_t n = data.size();
  check(n > 0, "evaluate: the dataset {} is empty", data.name);
  check(options.batch_size > 0, "evaluate: a batch size of {}", options.batch_size);
  check(data.y && data.y.dtype() == DType::i64 && data.y.ndim() == 1,
        "evaluate: y of {} is {}, must be a label i64 for each item", data.name,
        data.y ? fmt::format("{} {}", data.y.shape(), name(data.y.dtype())) : "not there");
  const double counted = sum_of(not_equal(data.y, CrossEntropyOptions().ignore_index));
  check(counted > 0, "evaluate: all {} labels of {} are {}, which counts for nothing", n, data.name,
        CrossEntropyOptions().ignore_index);
  const NoRecord pause;
  const bool own_statistics = options.statistics == NormStatistics::batch;
  detail::ModelGuard guard(model);
  if (own_statistics)
    for (const auto& [path, buffer] : model.named_buffers()) guard.keep(buffer);
  guard.begin([&](Module& module, bool) {
    return own_statistics && dynamic_cast<BatchNorm*>(&module) != nullptr;
  });
  Evaluation result{.correct = empty({n}, DType::boolean)};
  const int64_t size = std::min(options.batch_size, n);
  for (int64_t begin = 0; begin < n; begin += size) {
    const int64_t end = std::min(n, begin + size), first = own_statistics ? end - size : begin;
    const Dataset batch = rows(data, first, end);
    note(logits(batch), batch, begin - first, begin, result);
  }
  result.loss = sum_of(result.losses) / counted;
  result.accuracy = sum_of(result.correct) / counted;
  return result;
}

}  // namespace gradus
