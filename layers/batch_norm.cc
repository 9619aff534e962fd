#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>

#include <algorithm>

namespace gradus {

BatchNorm::BatchNorm(int64_t channels, BatchNormLayerOptions options)
    : channels_(channels), options_(options) {
  check(channels > 0, "BatchNorm: {} channels", channels);
  check(!options.momentum || (*options.momentum >= 0 && *options.momentum <= 1),
        "BatchNorm: momentum {} does not lie in [0, 1]", options.momentum.value_or(0));
  check(options.ghost_size >= 0, "BatchNorm: groups of {} samples", options.ghost_size);
  if (options.affine) {
    weight = Parameter({channels}, Init::ones());
    bias = Parameter({channels}, Init::zeros());
  }
  if (options.track_running_stats) {
    running_mean = Buffer(zeros({channels}));
    running_var = Buffer(ones({channels}));
    num_batches_tracked = Buffer(zeros({}, DType::i64));
  }
}

namespace {

/// What a mask leaves.
enum class Left { none, one_of_several, enough };

Left left_by(const Tensor& valid) {
  if (!valid || valid.dtype() != DType::boolean) return Left::enough;
  const Tensor from = raw::contiguous(valid);
  const auto count = std::count(from.data<bool>(), from.data<bool>() + from.numel(), true);
  if (count == 0) return Left::none;
  return count == 1 && from.numel() > 1 ? Left::one_of_several : Left::enough;
}

/// What makes a biased variance of so many values an unbiased one.
double unbiased(int64_t count) {
  return static_cast<double>(count) / static_cast<double>(count - 1);
}

/// running += momentum (scale x - running), in f64: `scale` x may be beyond f32.
void average(double momentum, const Tensor& x, double scale, Tensor& running) {
  const double of_x = momentum * scale, keep = 1 - momentum;
  dispatch_floating(running.dtype(), "BatchNorm", [&]<class T>() {
    T* to = running.mutable_data<T>();
    dispatch_floating(x.dtype(), "BatchNorm", [&]<class X>() {
      const X* from = x.data<X>();
      for (int64_t c = 0; c < x.numel(); ++c)
        to[c] =
            static_cast<T>(keep * static_cast<double>(to[c]) + of_x * static_cast<double>(from[c]));
    });
  });
}

/// x's samples in groups of so many, what is left over in the last.
TensorList groups_of(const Tensor& x, int64_t size) {
  const int64_t groups = x.size(0) / size, left_over = x.size(0) % size;
  if (left_over == 0) {
    Shape grouped{groups, size};
    for (int i = 1; i < x.ndim(); ++i) grouped.push_back(x.size(i));
    return unbind(reshape(x, grouped));
  }
  const int64_t last = (groups - 1) * size;
  TensorList parts = groups_of(slice(x, 0, 0, last), size);
  parts.push_back(slice(x, 0, last, x.size(0)));
  return parts;
}

}  // namespace

Tensor BatchNorm::forward(const Tensor& x, const Tensor& valid) {
  const ForwardScope scope(*this);
  const ChannelAxis axis = options_.channels_last ? ChannelAxis::last : ChannelAxis::second;
  const bool image = x.ndim() >= 2 && (!options_.channels_last || x.ndim() == 3 || x.ndim() == 2);
  check(image && x.size(axis == ChannelAxis::last ? -1 : 1) == channels_,
        "BatchNorm: x {} does not have {} channels {}", x.shape(), channels_,
        options_.channels_last ? "in its last axis, as (N, T, C)" : "in axis 1");
  const bool tracks = options_.track_running_stats;
  if (tracks) check_same_dtype("BatchNorm", x, running_mean);
  const BatchNormOptions options{
      .eps = options_.eps, .axis = axis, .valid = valid, .activation = options_.activation};
  if (tracks && (!training() || frozen_))
    return batch_norm_inference(x, running_mean, running_var, weight, bias, options);
  if (statistics && options_.ghost_size == 0 && training())
    return normalize_by(x, options, statistics(x, valid));
  if (options_.ghost_size > 0 && x.size(0) / options_.ghost_size > 1)
    return normalize_groups(x, options);
  std::optional<BatchStatistics> own;
  Tensor y = normalize(x, options, own);
  if (own) {
    update_running_stats(own->mean, own->var, unbiased(own->count));
    if (observer) observer(*own);
  }
  return y;
}

Tensor BatchNorm::normalize_by(const Tensor& x, const BatchNormOptions& options,
                               const GivenStatistics& given) {
  const Shape per_channel{1, channels_, 1};
  const NormGroups groups = batch_norm_groups(x, options.axis, options.valid);
  const Tensor y = normalize_with(groups, x, reshape(given.mean, per_channel),
                                  reshape(given.var, per_channel), weight, bias, options.eps)
                       .y;
  if (given.count > 0) {
    const NoRecord pause;
    update_running_stats(given.mean, given.var, unbiased(given.count));
  }
  return options.activation == Activation::relu ? relu(y) : y;
}

/// In f64: of means rounded to f32, far from 0, the variance would be that of the rounding.
static Tensor exact_mean(const Tensor& x, const BatchNormOptions& options, int64_t count) {
  const NoRecord pause;
  const int channel = options.axis == ChannelAxis::last ? x.ndim() - 1 : 1;
  Axes others;
  for (int i = 0; i < x.ndim(); ++i)
    if (i != channel) others.push_back(i);
  Tensor values = raw::cast(x, DType::f64);
  if (options.valid) values = where(unsqueeze(options.valid, channel), values, 0.0);
  return sum(values, others) / static_cast<double>(count);
}

/// y of samples that share their statistics, which `own` becomes if they are enough.
Tensor BatchNorm::normalize(const Tensor& x, const BatchNormOptions& options,
                            std::optional<BatchStatistics>& own) {
  const Left left = left_by(options.valid);
  if (left != Left::enough && options_.track_running_stats)
    return batch_norm_inference(x, running_mean, running_var, weight, bias, options);
  if (left == Left::none) {  // y is 0, whatever the statistics
    const Shape per_channel{channels_};
    return batch_norm_inference(x, zeros(per_channel, x.dtype()), ones(per_channel, x.dtype()),
                                weight, bias, options);
  }
  BatchNormResult result = batch_norm(x, weight, bias, options);
  own.emplace(BatchStatistics{std::move(result.mean), std::move(result.var), result.count,
                              observer ? exact_mean(x, options, result.count) : Tensor()});
  return std::move(result.y);
}

Tensor BatchNorm::normalize_groups(const Tensor& x, const BatchNormOptions& options) {
  const int64_t size = options_.ghost_size;
  check(size * x.numel() > x.size(0) * channels_,
        "BatchNorm: groups of {} of x {} have 1 value a channel, so training statistics do not "
        "exist; use a larger ghost_size, or LayerNorm",
        size, x.shape());
  const Tensor& valid = options.valid;
  if (valid)
    check(valid.ndim() > 0 && valid.size(0) == x.size(0),
          "BatchNorm: the mask is {}, not one for the {} samples of x {}", valid.shape(), x.size(0),
          x.shape());
  TensorList parts = groups_of(x, size);
  const TensorList masks = valid ? groups_of(valid, size) : TensorList(parts.size());
  TensorList means, vars;  // in f64, as many may add up to more than f32 holds
  std::vector<BatchStatistics> groups;
  for (size_t i = 0; i < parts.size(); ++i) {
    BatchNormOptions of_group = options;
    of_group.valid = masks[i];
    std::optional<BatchStatistics> own;
    parts[i] = normalize(parts[i], of_group, own);
    if (!own) continue;
    means.push_back(raw::cast(own->mean, DType::f64));
    vars.push_back(raw::cast(own->var, DType::f64) * unbiased(own->count));
    groups.push_back(*std::move(own));
  }
  Tensor y = concat(parts);
  if (groups.empty()) return y;
  update_running_stats(mean(stack(means), {0}), mean(stack(vars), {0}), 1);
  for (size_t i = 0; observer && i < groups.size(); ++i) observer(groups[i]);
  return y;
}

void BatchNorm::freeze_statistics(bool frozen) {
  check(!frozen || options_.track_running_stats,
        "BatchNorm: there are no running statistics of the {} channels to freeze", channels_);
  frozen_ = frozen;
}

void BatchNorm::update_running_stats(const Tensor& mean, const Tensor& var, double to_unbiased) {
  if (!options_.track_running_stats) return;
  raw::check_writable("BatchNorm", running_mean);
  raw::check_writable("BatchNorm", running_var);
  Tensor means = raw::contiguous(running_mean), vars = raw::contiguous(running_var);
  for (const Buffer* buffer : {&num_batches_tracked, &running_mean, &running_var})
    ForwardScope::restore_on_error(*buffer);
  int64_t& batches = *num_batches_tracked.mutable_data<int64_t>();
  ++batches;
  const double momentum = options_.momentum.value_or(1 / static_cast<double>(batches));
  average(momentum, mean, 1, means);
  average(momentum, var, to_unbiased, vars);
  if (!means.is(running_mean)) raw::copy(means, running_mean);
  if (!vars.is(running_var)) raw::copy(vars, running_var);
}

void BatchNorm::reset_running_stats() {
  if (!options_.track_running_stats) return;
  raw::fill(running_mean, 0);
  raw::fill(running_var, 1);
  raw::fill(num_batches_tracked, 0);
}

void BatchNorm::visit(Visitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias);
  visitor.buffer("running_mean", running_mean);
  visitor.buffer("running_var", running_var);
  visitor.buffer("num_batches_tracked", num_batches_tracked);
}

std::string BatchNorm::describe() const {
  const std::string ghost =
      options_.ghost_size > 0 ? fmt::format(", groups of {}", options_.ghost_size) : "";
  return fmt::format("BatchNorm({}{}{}{}{})", channels_,
                     options_.channels_last ? ", channels last" : "", ghost,
                     suffix(options_.activation), frozen_ ? ", frozen statistics" : "");
}

}  // namespace gradus
