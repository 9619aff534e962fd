#pragma once
#include <gradus/tensor/tensor.h>

#include <vector>

namespace gradus::detail {

/// Mean and variance of each channel's values, which come batch by batch (Chan, Golub & LeVeque
/// 1979).
class ChannelMoments {
 public:
  explicit ChannelMoments(int64_t channels) : channels_(static_cast<size_t>(channels)) {}

  /// A batch of so many values a channel: their means and biased variances, (C).
  void add(const Tensor& mean, const Tensor& var, int64_t count) {
    if (count == 0) return;
    const std::vector<double> means = mean.to_vector<double>(), vars = var.to_vector<double>();
    const auto n = static_cast<double>(count), so_far = static_cast<double>(count_);
    const double share = n / (so_far + n);
    for (size_t c = 0; c < channels_.size(); ++c) {
      Channel& m = channels_[c];
      const double delta = means[c] - m.mean;
      m.mean += delta * share;
      m.squares += n * vars[c] + delta * delta * so_far * share;
    }
    count_ += count;
  }
  int64_t count() const { return count_; }
  int64_t channels() const { return std::ssize(channels_); }

  /// (C), rounded to this dtype.
  Tensor mean(DType dtype) const {
    return values([](const Channel& m) { return m.mean; }, dtype);
  }
  Tensor var(DType dtype) const {
    return values([&](const Channel& m) { return m.squares / static_cast<double>(count_); }, dtype);
  }

 private:
  /// The values' mean, and the sum of their squared deviations from it.
  struct Channel {
    double mean = 0, squares = 0;
  };
  template <class F>
  Tensor values(F f, DType dtype) const {
    Tensor all = empty({static_cast<int64_t>(channels_.size())}, DType::f64);
    for (size_t c = 0; c < channels_.size(); ++c) all.mutable_data<double>()[c] = f(channels_[c]);
    return raw::cast(all, dtype);
  }

  std::vector<Channel> channels_;
  int64_t count_ = 0;
};

}  // namespace gradus::detail
