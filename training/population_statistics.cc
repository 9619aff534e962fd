#include <gradus/autograd/tape.h>
#include <gradus/training/detail/model_guard.h>
#include <gradus/training/population_statistics.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace gradus {

namespace {

/// A channel's values so far: their mean, and the sum of their squared deviations from it.
struct Moments {
  double mean = 0, squares = 0;
};

/// What a BatchNorm's observer heard, until it is over; a copy of the norm goes on telling it.
class Heard {
 public:
  explicit Heard(BatchNorm& norm)
      : norm_(norm), before_(norm.observer), channels_(static_cast<size_t>(norm.channels())) {}

  void hear(const BatchStatistics& batch) {
    if (!over_) add(batch);
    if (before_) before_(batch);
  }
  void end() noexcept { over_ = true; }
  double count() const { return count_; }
  BatchNorm& norm() const { return norm_; }

  Tensor mean() const {
    return values([](const Moments& m) { return m.mean; }, norm_.running_mean);
  }
  Tensor var() const {
    return values([&](const Moments& m) { return m.squares / count_; }, norm_.running_var);
  }

 private:
  // Chan, Golub & LeVeque 1979
  void add(const BatchStatistics& batch) {
    const std::vector<double> mean = batch.exact_mean.to_vector<double>(),
                              var = batch.var.to_vector<double>();
    const auto n = static_cast<double>(batch.count);
    const double share = n / (count_ + n);
    for (size_t c = 0; c < channels_.size(); ++c) {
      Moments& m = channels_[c];
      const double delta = mean[c] - m.mean;
      m.mean += delta * share;
      m.squares += n * var[c] + delta * delta * count_ * share;
    }
    count_ += n;
  }
  template <class F>
  Tensor values(F f, const Tensor& like) const {
    Tensor all = empty({norm_.channels()}, DType::f64);
    for (size_t c = 0; c < channels_.size(); ++c) all.mutable_data<double>()[c] = f(channels_[c]);
    return raw::cast(all, like.dtype());
  }

  BatchNorm& norm_;
  std::function<void(const BatchStatistics&)> before_;
  std::vector<Moments> channels_;
  double count_ = 0;
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
