#include <gradus/autograd/ops/norm.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>

#include <algorithm>

namespace gradus {

BatchNorm::BatchNorm(int64_t channels, BatchNormLayerOptions options)
    : channels_(channels), options_(options) {
  check(channels > 0, "BatchNorm: {} channels", channels);
  check(!options.momentum || (*options.momentum >= 0 && *options.momentum <= 1),
        "BatchNorm: momentum {} does not lie in [0, 1]", options.momentum.value_or(0));
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

}  // namespace

Tensor BatchNorm::forward(const Tensor& x, const Tensor& valid) {
  const ForwardScope scope(*this);
  const ChannelAxis axis = options_.channels_last ? ChannelAxis::last : ChannelAxis::second;
  const bool image = x.ndim() >= 2 && (!options_.channels_last || x.ndim() == 3 || x.ndim() == 2);
  check(image && x.size(axis == ChannelAxis::last ? -1 : 1) == channels_,
        "BatchNorm: x {} does not have {} channels {}", x.shape(), channels_,
        options_.channels_last ? "in its last axis, as (N, T, C)" : "in axis 1");
  if (options_.track_running_stats) check_same_dtype("BatchNorm", x, running_mean);
  const BatchNormOptions options{
      .eps = options_.eps, .axis = axis, .valid = valid, .activation = options_.activation};
  const bool trains = training() && !frozen_, tracks = options_.track_running_stats;
  const Left left = trains || !tracks ? left_by(valid) : Left::enough;
  if (tracks && (!trains || left != Left::enough))
    return batch_norm_inference(x, running_mean, running_var, weight, bias, options);
  if (left == Left::none) {  // y is 0, whatever the statistics
    const Shape per_channel{channels_};
    return batch_norm_inference(x, zeros(per_channel, x.dtype()), ones(per_channel, x.dtype()),
                                weight, bias, options);
  }
  const BatchNormResult result = batch_norm(x, weight, bias, options);
  if (observer) observer({result.mean, result.var, result.count});
  if (tracks) update_running_stats(result.mean, result.var, result.count);
  return result.y;
}

void BatchNorm::freeze(bool frozen) {
  check(!frozen || options_.track_running_stats,
        "BatchNorm: there are no running statistics of the {} channels to freeze", channels_);
  frozen_ = frozen;
}

void BatchNorm::update_running_stats(const Tensor& mean, const Tensor& var, int64_t count) {
  raw::check_writable("BatchNorm", running_mean);
  raw::check_writable("BatchNorm", running_var);
  Tensor means = raw::contiguous(running_mean), vars = raw::contiguous(running_var);
  for (const Buffer* buffer : {&num_batches_tracked, &running_mean, &running_var})
    ForwardScope::restore_on_error(*buffer);
  int64_t& batches = *num_batches_tracked.mutable_data<int64_t>();
  ++batches;
  const double momentum = options_.momentum.value_or(1 / static_cast<double>(batches));
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  dispatch_floating(mean.dtype(), "BatchNorm", [&]<class T>() {
    const T m = static_cast<T>(momentum), keep = static_cast<T>(1 - momentum);
    const T to_unbiased = static_cast<T>(unbiased);
    T* running_m = means.mutable_data<T>();
    T* running_v = vars.mutable_data<T>();
    for (int64_t c = 0; c < channels_; ++c) {
      running_m[c] = keep * running_m[c] + m * mean.data<T>()[c];
      running_v[c] = keep * running_v[c] + m * (var.data<T>()[c] * to_unbiased);
    }
  });
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
  return fmt::format("BatchNorm({}{}{})", channels_,
                     options_.channels_last ? ", channels last" : "", suffix(options_.activation));
}

}  // namespace gradus
