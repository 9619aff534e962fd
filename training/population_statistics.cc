#include <gradus/autograd/tape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/training/population_statistics.h>

#include <memory>
#include <utility>
#include <vector>

namespace gradus {

namespace {

/// A channel's values so far: their mean, and the sum of their squared deviations from it.
struct Moments {
  double mean = 0, squares = 0;
};

/// Listens to a BatchNorm, which trains as long as this lives and is then as it was, but for its
/// running statistics if `keep` was called.
class Listener {
 public:
  explicit Listener(BatchNorm& norm)
      : norm_(norm),
        trained_(norm.training()),
        observer_(norm.observer),
        before_{raw::clone(norm.running_mean), raw::clone(norm.running_var),
                raw::clone(norm.num_batches_tracked)},
        channels_(static_cast<size_t>(norm.channels())) {
    norm_.train();
    raw::fill(norm_.num_batches_tracked, 0);
    norm_.observer = [this](const BatchStatistics& batch) {
      add(batch);
      if (observer_) observer_(batch);
    };
  }
  ~Listener() {
    norm_.observer = std::move(observer_);
    norm_.train(trained_);
    if (kept_) return;
    raw::copy(before_[0], norm_.running_mean);
    raw::copy(before_[1], norm_.running_var);
    raw::copy(before_[2], norm_.num_batches_tracked);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  double count() const { return count_; }

  void keep() {
    if (count_ == 0) return;
    kept_ = true;
    Tensor mean = empty({norm_.channels()}, DType::f64),
           var = empty({norm_.channels()}, DType::f64);
    for (size_t c = 0; c < channels_.size(); ++c) {
      mean.mutable_data<double>()[c] = channels_[c].mean;
      var.mutable_data<double>()[c] = channels_[c].squares / count_;
    }
    raw::copy(raw::cast(mean, norm_.running_mean.dtype()), norm_.running_mean);
    raw::copy(raw::cast(var, norm_.running_var.dtype()), norm_.running_var);
  }

 private:
  // Chan, Golub & LeVeque 1979
  void add(const BatchStatistics& batch) {
    const std::vector<double> mean = batch.mean.to_vector<double>(),
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

  BatchNorm& norm_;
  bool trained_, kept_ = false;
  std::function<void(const BatchStatistics&)> observer_;
  Tensor before_[3];
  std::vector<Moments> channels_;
  double count_ = 0;
};

}  // namespace

void population_statistics(Module& model, const std::function<void()>& forward_all) {
  std::vector<std::unique_ptr<Listener>> listeners;
  for (const auto& [path, module] : model.named_modules()) {
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (norm && norm->running_mean && !norm->frozen())
      listeners.push_back(std::make_unique<Listener>(*norm));
  }
  const NoRecord pause;
  forward_all();
  double values = 0;
  for (const auto& listener : listeners) values += listener->count();
  check(listeners.empty() || values > 0,
        "population_statistics: no batch reached any of the {} BatchNorms of {}; does forward_all "
        "run this model, not a copy of it, on a batch or more?",
        listeners.size(), model.describe());
  for (const auto& listener : listeners) listener->keep();
}

}  // namespace gradus
