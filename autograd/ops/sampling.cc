#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/sampling.h>
#include <gradus/autograd/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gradus {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// The largest of a row, which must have a softmax.
template <class T>
T largest(const char* op, const Tensor& logits, int64_t row, std::span<const T> values) {
  T most = values[0];
  bool nan = false;
  for (T value : values) nan |= std::isnan(value), most = std::max(most, value);
  if (nan || !std::isfinite(most)) [[unlikely]]
    fail("{}: row {} of the logits {} has no probabilities: {}", op, row, logits.shape(),
         nan        ? "there is NaN"
         : most > 0 ? "there is +inf"
                    : "all are -inf");
  return most;
}

/// f(row, values) for each row of the last axis.
template <class F>
void each_row(const char* op, const Tensor& logits, F f) {
  check(logits.ndim() > 0 && logits.shape().back() > 0,
        "{}: logits of shape {} have nothing to choose from", op, logits.shape());
  const raw::Contiguous values(logits);
  const int64_t c = logits.shape().back(), rows = logits.numel() / c;
  dispatch_floating(logits.dtype(), op, [&]<class T>() {
    for (int64_t row = 0; row < rows; ++row)
      f(row, std::span(values.data<T>() + row * c, static_cast<size_t>(c)));
  });
}

Tensor index_of_each_row(const Tensor& logits) {
  Shape shape;
  for (int i = 0; i + 1 < logits.ndim(); ++i) shape.push_back(logits.shape()[i]);
  return empty(shape, DType::i64);
}

/// logits where they are among the first of their row that `count` says, from the largest on.
template <class Count>
Tensor keep_first(const char* op, const Tensor& logits, Count count) {
  Tensor stays = empty(logits.shape(), DType::boolean);
  std::vector<int64_t> order;
  each_row(op, logits, [&]<class T>(int64_t row, std::span<const T> values) {
    const T most = largest(op, logits, row, values);
    order.resize(values.size());
    std::iota(order.begin(), order.end(), 0);
    const auto at = [&](int64_t i) { return values[static_cast<size_t>(i)]; };
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return at(a) != at(b) ? at(a) > at(b) : a < b; });
    bool* stay = stays.mutable_data<bool>() + row * static_cast<int64_t>(values.size());
    std::fill_n(stay, values.size(), false);
    const int64_t kept = count(
        [&](int64_t i) {
          return std::exp(static_cast<double>(at(order[static_cast<size_t>(i)])) -
                          static_cast<double>(most));
        },
        static_cast<int64_t>(values.size()));
    for (int64_t i = 0; i < kept; ++i) stay[order[static_cast<size_t>(i)]] = true;
  });
  return where(stays, logits, full({}, kNever, logits.dtype()));
}

}  // namespace

Tensor categorical(const Tensor& logits, Generator& generator) {
  Tensor y = index_of_each_row(logits);
  std::vector<double> sums;  // of probabilities, up to each
  each_row("categorical", logits, [&]<class T>(int64_t row, std::span<const T> values) {
    const T most = largest("categorical", logits, row, values);
    sums.clear();
    double sum = 0;
    for (T value : values) {
      sum += std::exp(static_cast<double>(value) - static_cast<double>(most));
      sums.push_back(sum);
    }
    // Below the whole sum, so that what is found has a probability.
    const double drawn = std::min(generator.uniform() * sum, std::nextafter(sum, 0.0));
    y.mutable_data<int64_t>()[row] =
        std::upper_bound(sums.begin(), sums.end(), drawn) - sums.begin();
  });
  return y;
}

Tensor bernoulli(const Tensor& p, Generator& generator) {
  const raw::Contiguous given(p);
  Tensor y = empty(p.shape(), DType::boolean);
  dispatch_floating(p.dtype(), "bernoulli", [&]<class T>() {
    const T* chance = given.data<T>();
    for (int64_t i = 0; i < p.numel(); ++i)
      if (!(chance[i] >= 0 && chance[i] <= 1)) [[unlikely]]
        fail("bernoulli: the probability {} at {} of p {} does not lie in [0, 1]", chance[i],
             unravel(i, p.shape()), p.shape());
    bool* values = y.mutable_data<bool>();
    for (int64_t i = 0; i < p.numel(); ++i)
      values[i] =
          generator.uint32() >=
          static_cast<uint64_t>(std::llround((1 - static_cast<double>(chance[i])) * 0x1p32));
  });
  return y;
}

Tensor keep_top_k(const Tensor& logits, int64_t k) {
  check(k > 0, "keep_top_k: the {} largest of logits {}; 1 or more stay", k, logits.shape());
  return keep_first("keep_top_k", logits,
                    [&](const auto&, int64_t size) { return std::min(k, size); });
}

Tensor keep_top_p(const Tensor& logits, double p) {
  check(p >= 0 && p <= 1, "keep_top_p: the probability {} does not lie in [0, 1]", p);
  return keep_first("keep_top_p", logits, [&](const auto& weight, int64_t size) {
    double whole = 0, sum = 0;
    for (int64_t i = 0; i < size; ++i) whole += weight(i);
    int64_t kept = 1;
    for (sum = weight(0); p == 1 ? kept < size : kept < size && sum < p * whole; ++kept)
      sum += weight(kept);
    return kept;
  });
}

Tensor sample_logits(const Tensor& logits, const SamplingOptions& options, Generator& generator) {
  const double t = options.temperature;
  check(t >= 0 && std::isfinite(t), "sample_logits: a temperature of {}; 0 or more", t);
  check(options.top_k >= 0, "sample_logits: the {} largest of logits {}; 0 for all", options.top_k,
        logits.shape());
  check(options.top_p >= 0 && options.top_p <= 1,
        "sample_logits: the probability {} does not lie in [0, 1]", options.top_p);
  const NoRecord pause;
  if (t == 0) {
    Tensor y = index_of_each_row(logits);
    each_row("sample_logits", logits, [&]<class T>(int64_t row, std::span<const T> values) {
      const T most = largest("sample_logits", logits, row, values);
      y.mutable_data<int64_t>()[row] =
          std::find(values.begin(), values.end(), most) - values.begin();
    });
    return y;
  }
  Tensor left = logits;
  if (t != 1) {  // the largest is 0: no temperature makes it infinite
    const Tensor most = (max)(logits, -1, true);
    left = (all_finite(most) ? logits - most : logits) / t;
  }
  if (options.top_k > 0) left = keep_top_k(left, options.top_k);
  if (options.top_p < 1) left = keep_top_p(left, options.top_p);
  return categorical(left, generator);
}

}  // namespace gradus
