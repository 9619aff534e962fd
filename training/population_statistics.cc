#include <gradus/autograd/tape.h>
#include <gradus/training/detail/channel_moments.h>
#include <gradus/training/detail/model_guard.h>
#include <gradus/training/population_statistics.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace gradus {

namespace {

/// What a BatchNorm's observer heard, until it is over; a copy of the norm goes on telling it.
class Heard {
 public:
  explicit Heard(BatchNorm& norm)
      : norm_(norm), before_(norm.observer), moments_(norm.channels()) {}

  void hear(const BatchStatistics& batch) {
    if (!over_) moments_.add(batch.exact_mean, batch.var, batch.count);
    if (before_) before_(batch);
  }
  void end() noexcept { over_ = true; }
  int64_t count() const { return moments_.count(); }
  BatchNorm& norm() const { return norm_; }

  Tensor mean() const { return moments_.mean(norm_.running_mean.dtype()); }
  Tensor var() const { return moments_.var(norm_.running_var.dtype()); }

 private:
  BatchNorm& norm_;
  std::function<void(const BatchStatistics&)> before_;
  detail::ChannelMoments moments_;
  bool over_ = false;
};

/// Those of the BatchNorms in a model whose statistics are asked for.
class Listeners {
 public:
  explicit Listeners(detail::ModelGuard& guard) {
    for (const auto& [path, module] : guard.modules()) {
      auto* norm = dynamic_cast<BatchNorm*>(module);
      if (!norm || !norm->running_mean || norm->frozen()) continue;
      for (const Buffer* buffer :
           {&norm->running_mean, &norm->running_var, &norm->num_batches_tracked})
        guard.keep(*buffer);
      heard_.push_back(std::make_shared<Heard>(*norm));
      guard.listen(*norm,
                   [one = heard_.back()](const BatchStatistics& batch) { one->hear(batch); });
    }
  }
  ~Listeners() {
    for (const auto& one : heard_) one->end();
  }
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  bool hear(const Module& module) const {
    return std::any_of(heard_.begin(), heard_.end(),
                       [&](const auto& one) { return &one->norm() == &module; });
  }
  const std::vector<std::shared_ptr<Heard>>& all() const { return heard_; }

 private:
  std::vector<std::shared_ptr<Heard>> heard_;
};

/// A buffer, and what it will hold.
struct Result {
  Tensor buffer, values;
};

/// Of the norms that a batch reached.
std::vector<Result> results(const Listeners& listeners) {
  std::vector<Result> results;
  for (const auto& one : listeners.all()) {
    if (one->count() == 0) continue;
    const BatchNorm& norm = one->norm();
    results.push_back({norm.running_mean, one->mean()});
    results.push_back({norm.running_var, one->var()});
    results.push_back({norm.num_batches_tracked, raw::clone(norm.num_batches_tracked)});
  }
  return results;
}

}  // namespace

void population_statistics(Module& model, const std::function<void()>& forward_all) {
  const NoRecord pause;
  detail::ModelGuard guard(model);
  const Listeners listeners(guard);
  guard.begin([&](Module& module, bool trained) { return trained || listeners.hear(module); });
  for (const auto& one : listeners.all()) raw::fill(one->norm().num_batches_tracked, 0);
  forward_all();
  const std::vector<Result> found = results(listeners);
  check(listeners.all().empty() || !found.empty(),
        "population_statistics: no batch reached any of the {} BatchNorms of {}; does forward_all "
        "run this model, not a copy of it, on a batch or more?",
        listeners.all().size(), model.describe());
  for (const auto& [buffer, values] : found) guard.put(buffer, values);
}

}  // namespace gradus
