#define BOOST_TEST_MODULE reference_ops
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/attention.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/einsum.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/index_maps.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/order.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/resample.h>
#include <gradus/autograd/ops/rnn.h>
#include <gradus/autograd/ops/sampling.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/layers/positions.h>

#include <functional>
#include <limits>
#include <set>
#include <tuple>

#include "tests/reference/reference.h"

using namespace gradus;
using namespace gradus::test;

namespace {

using X = const std::vector<Tensor>&;  // a case's x0, x1, ...

// A result is a sum of up to 72 products of order 1 (conv2d's dw), most of whose roundings cancel,
// or some ten steps. The largest difference found is 24 roundings.
constexpr int kRoundings = 64;

/// Our function for a case, or for all cases whose names go on after it with a colon.
struct Row {
  /// f: takes the inputs; gives a tensor or several.
  template <class F>
  Row(std::string row_name, F row_f)
      : name(std::move(row_name)), f([row_f](X x) -> std::vector<Tensor> { return {row_f(x)}; }) {}
  template <class F>
  requires std::is_convertible_v<std::invoke_result_t<F, X>, std::vector<Tensor>> Row(
      std::string row_name, F row_f)
      : name(std::move(row_name)), f(row_f) {}

  std::string name;
  std::function<std::vector<Tensor>(X)> f;
};

Tensor optional(X x, size_t i) { return i < x.size() ? x[i] : Tensor(); }
Tensor truth(bool value) { return raw::cast(full({}, value), DType::boolean); }

std::vector<Tensor> all_of(const TensorList& parts) { return {parts.begin(), parts.end()}; }
std::vector<Tensor> results(const BatchNormResult& r) { return {r.y, r.mean, r.var}; }

/// x without the elements that do not stay: dropout of many copies, of which one is taken for each
/// element that does with it what is asked.
Tensor dropout_with(const Tensor& x, const Tensor& stays, double p) {
  constexpr int64_t kCopies = 99;
  const auto copies = [&](const Tensor& t) {
    Generator generator(1);
    return dropout(expand(t, {kCopies, t.size(0), t.size(1)}), p, true, generator);
  };
  const Tensor fates = copies(ones_like(x).set_requires_grad(false));
  Tensor index = zeros({1, x.size(0), x.size(1)}, DType::i64);
  for (int64_t i = 0; i < x.size(0); ++i)
    for (int64_t j = 0; j < x.size(1); ++j) {
      int64_t& copy = index.mutable_data<int64_t>()[i * x.size(1) + j];
      while ((fates.at({copy, i, j}) != 0) != (stays.at({i, j}) != 0)) ++copy;
    }
  return squeeze(gather(copies(x), 0, index), 0);
}

const std::pair<const char*, Reduction> kReductions[] = {
    {"mean", Reduction::mean}, {"sum", Reduction::sum}, {"none", Reduction::none}};

/// Convolutions and poolings along one axis, transposed, or that keep the size.
std::vector<Row> windows() {
  std::vector<Row> rows{
      {"embedding.padding", [](X x) { return embedding(x[0], x[1], 1); }},
      {"max_pool1d",
       [](X x) {
         return max_pool1d(x[0], 3, {.stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true});
       }},
      {"avg_pool1d",
       [](X x) {
         return avg_pool1d(
             x[0], 3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false});
       }},
      {"adaptive_avg_pool1d", [](X x) { return adaptive_avg_pool1d(x[0], 3); }},
      {"max_pool2d_with_indices",
       [](X x) {
         const auto [y, places] =
             max_pool2d_with_indices(x[0], {2, 3}, {.stride = 2, .padding = 1});
         return std::vector{y, places};
       }},
      {"max_unpool2d.plain",
       [](X x) { return max_unpool2d(x[0], x[1], 2, {.output_size = Pair(5, 7)}); }},
      {"max_unpool2d.strided", [](X x) {
         return max_unpool2d(x[0], x[1], {1, 2}, {.stride = Pair(2, 3), .padding = {0, 1}});
       }}};
  const Padding same = Padding::same();
  const std::pair<const char*, Conv2dOptions> images[] = {
      {"same", {.padding = same}},
      {"same dilated", {.padding = same, .dilation = {3, 2}}},
      {"one image", {.stride = {2, 1}, .padding = {1, 0}}}};
  for (const auto& [name, options] : images)
    rows.push_back({fmt::format("conv2d.{}", name),
                    [options = options](X x) { return conv2d(x[0], x[1], x[2], options); }});
  const std::pair<const char*, Conv1dOptions> steps[] = {
      {"plain", {}},
      {"strided", {.stride = 2, .padding = 1, .dilation = 2}},
      {"groups", {.groups = 2}},
      {"same", {.padding = same, .dilation = 3}},
      {"one row", {}}};
  for (const auto& [name, options] : steps)
    rows.push_back({fmt::format("conv1d.{}", name),
                    [options = options](X x) { return conv1d(x[0], x[1], x[2], options); }});
  const std::pair<const char*, ConvTranspose2dOptions> transposed[] = {
      {"plain", {}},
      {"strided", {.stride = {2, 3}, .padding = {1, 2}, .output_padding = {1, 2}}},
      {"groups", {.dilation = {1, 2}, .groups = 2}},
      {"beyond the stride",
       {.stride = {3, 2}, .padding = {1, 2}, .output_padding = {2, 3}, .dilation = 4}},
      {"one image", {}}};
  for (const auto& [name, options] : transposed)
    rows.push_back({fmt::format("conv_transpose2d.{}", name), [options = options](X x) {
                      return conv_transpose2d(x[0], x[1], optional(x, 2), options);
                    }});
  const std::pair<const char*, ConvTranspose1dOptions> transposed_steps[] = {
      {"plain", {}},
      {"strided", {.stride = 3, .padding = 1, .output_padding = 2, .dilation = 2, .groups = 2}},
      {"one row", {}}};
  for (const auto& [name, options] : transposed_steps)
    rows.push_back({fmt::format("conv_transpose1d.{}", name), [options = options](X x) {
                      return conv_transpose1d(x[0], x[1], x[2], options);
                    }});
  return rows;
}

/// Images of another size.
std::vector<Row> sizes() {
  const std::pair<const char*, InterpolateOptions> options[] = {
      {"larger", {.size = Pair(5, 9)}},
      {"smaller", {.size = Pair(3, 2)}},
      {"twice", {.scale = 2}},
      {"scale", {.scale = 1.7}},
      {"scale below 1", {.scale = 0.4}},
      {"scale of one axis", {.scale = 1.2}},
      {"scale of none", {.scale = 1.2}},
      {"scale to twice", {.scale = 2.2}},
      {"row", {.size = 8}},
      {"row twice", {.scale = 2}}};
  std::vector<Row> rows;
  for (const auto& [name, option] : options) {
    InterpolateOptions o = option;
    const auto add = [&](const char* mode) {
      rows.push_back({fmt::format("interpolate.{} {}", mode, name),
                      [o](X x) { return interpolate(x[0], o); }});
    };
    add("nearest");
    o.mode = Interpolation::bilinear;
    add("bilinear");
    o.align_corners = true;
    add("corners");
  }
  return rows;
}

/// Losses that are compositions.
std::vector<Row> more_losses() {
  std::vector<Row> rows{
      {"nll_loss.ignored", [](X x) { return nll_loss(x[0], x[1], {.ignore_index = 1}); }},
      {"smooth_l1_loss.l1", [](X x) { return smooth_l1_loss(x[0], x[1], 0); }},
      {"cosine_similarity.1", [](X x) { return cosine_similarity(x[0], x[1]); }},
      {"cosine_similarity.last", [](X x) { return cosine_similarity(x[0], x[1], -1); }}};
  for (const auto& [name, reduction] : kReductions) {
    const auto loss = [&, name = name](const char* format, auto f) {
      rows.push_back({fmt::format(fmt::runtime(format), name), f});
    };
    const Reduction r = reduction;
    for (double smoothing : {0.0, 0.2})
      loss(smoothing > 0 ? "soft_cross_entropy.{} smoothed" : "soft_cross_entropy.{}", [=](X x) {
        return cross_entropy(
            x[0], x[1], {.label_smoothing = smoothing, .weight = optional(x, 2), .reduction = r});
      });
    loss("nll_loss.{}",
         [r](X x) { return nll_loss(x[0], x[1], {.weight = optional(x, 2), .reduction = r}); });
    loss("l1_loss.{}", [r](X x) { return l1_loss(x[0], x[1], r); });
    loss("smooth_l1_loss.{}", [r](X x) { return smooth_l1_loss(x[0], x[1], 0.7, r); });
    for (bool log_target : {false, true})
      loss(log_target ? "kl_div.{} log" : "kl_div.{}",
           [=](X x) { return kl_div(x[0], x[1], {.log_target = log_target, .reduction = r}); });
    loss("binary_cross_entropy.{}", [r](X x) {
      return binary_cross_entropy(x[0], x[1], {optional(x, 2), r});
    });
    for (bool full : {false, true})
      loss(full ? "gaussian_nll_loss.{} full" : "gaussian_nll_loss.{}", [=](X x) {
        return gaussian_nll_loss(x[0], x[1], x[2], {.full = full, .eps = 1, .reduction = r});
      });
    loss("cosine_embedding_loss.{}", [r](X x) {
      return cosine_embedding_loss(x[0], x[1], x[2], {.margin = -0.5, .reduction = r});
    });
  }
  return rows;
}

/// Choosing a token, and positions.
std::vector<Row> sequence_rows() {
  return {{"keep_top_k", [](X x) { return keep_top_k(x[0], 3); }},
          {"keep_top_p", [](X x) { return keep_top_p(x[0], 0.7); }},
          {"rotary", [](X x) { return rotary(x[0]); }},
          {"rotary.from 100", [](X x) { return rotary(x[0], 100); }},
          {"sinusoidal_positions",
           [](X x) { return x[0] + sinusoidal_positions(9, 6, x[0].dtype()); }}};
}

std::vector<Row> rows() {
  std::vector<Row> rows{
      {"add", [](X x) { return x[0] + x[1]; }},
      {"sub", [](X x) { return x[0] - x[1]; }},
      {"mul", [](X x) { return x[0] * x[1]; }},
      {"div", [](X x) { return x[0] / x[1]; }},
      {"pow", [](X x) { return pow(x[0], x[1]); }},
      {"maximum", [](X x) { return maximum(x[0], x[1]); }},
      {"minimum", [](X x) { return minimum(x[0], x[1]); }},
      {"add.number", [](X x) { return x[0] + 1.7; }},
      {"sub.number", [](X x) { return x[0] - 1.7; }},
      {"number.sub", [](X x) { return 1.7 - x[0]; }},
      {"mul.number", [](X x) { return x[0] * -1.3; }},
      {"div.number", [](X x) { return x[0] / 0.7; }},
      {"number.div", [](X x) { return 0.7 / x[0]; }},
      {"negative", [](X x) { return -x[0]; }},

      {"exp", [](X x) { return exp(x[0]); }},
      {"log", [](X x) { return log(x[0]); }},
      {"sqrt", [](X x) { return sqrt(x[0]); }},
      {"rsqrt", [](X x) { return rsqrt(x[0]); }},
      {"abs", [](X x) { return abs(x[0]); }},
      {"neg", [](X x) { return neg(x[0]); }},
      {"sin", [](X x) { return sin(x[0]); }},
      {"cos", [](X x) { return cos(x[0]); }},
      {"tanh", [](X x) { return tanh(x[0]); }},
      {"erf", [](X x) { return erf(x[0]); }},
      {"square", [](X x) { return square(x[0]); }},
      {"reciprocal", [](X x) { return reciprocal(x[0]); }},
      {"sigmoid", [](X x) { return sigmoid(x[0]); }},
      {"relu", [](X x) { return relu(x[0]); }},
      {"gelu", [](X x) { return gelu(x[0]); }},
      {"gelu.tanh", [](X x) { return gelu(x[0], GeluForm::tanh); }},
      {"silu", [](X x) { return silu(x[0]); }},
      {"softplus", [](X x) { return softplus(x[0]); }},
      {"clamp", [](X x) { return clamp(x[0], -0.9, 1.1); }},
      {"clamp.bounds", [](X x) { return clamp(x[0], -0.5, 1.25); }},
      {"step", [](X x) { return step(x[0]); }},
      {"sign", [](X x) { return sign(x[0]); }},
      {"inside", [](X x) { return inside(x[0], -1, 0); }},

      {"less", [](X x) { return x[0] < x[1]; }},
      {"less_equal", [](X x) { return x[0] <= x[1]; }},
      {"greater", [](X x) { return x[0] > x[1]; }},
      {"greater_equal", [](X x) { return x[0] >= x[1]; }},
      {"equal", [](X x) { return equal(x[0], x[1]); }},
      {"not_equal", [](X x) { return not_equal(x[0], x[1]); }},
      {"less.number", [](X x) { return x[0] < 0; }},
      {"less_equal.number", [](X x) { return x[0] <= 0; }},
      {"greater.number", [](X x) { return x[0] > 0; }},
      {"greater_equal.number", [](X x) { return x[0] >= 0; }},
      {"equal.number", [](X x) { return equal(x[0], 0); }},
      {"not_equal.number", [](X x) { return not_equal(x[0], 0); }},
      {"logical_and", [](X x) { return logical_and(x[0], x[1]); }},
      {"logical_or", [](X x) { return logical_or(x[0], x[1]); }},
      {"logical_not", [](X x) { return logical_not(x[0]); }},
      {"any", [](X x) { return truth(any(x[0])); }},
      {"all", [](X x) { return truth(all(x[0])); }},
      {"all_finite", [](X x) { return truth(all_finite(x[0])); }},

      {"where", [](X x) { return where(x[0], x[1], x[2]); }},
      {"masked_fill", [](X x) { return masked_fill(x[0], x[1], -1.5); }},
      {"cast",
       [](X x) {
         const DType other = x[0].dtype() == DType::f64 ? DType::f32 : DType::f64;
         return cast(cast(x[0], other), x[0].dtype());
       }},
      {"cast.integers", [](X x) { return cast(x[0], DType::f64); }},

      {"var.biased",
       [](X x) {
         return var(x[0], {0, 2}, false, 0);
       }},
      {"sum_to.row",
       [](X x) {
         return sum_to(x[0], {1, 5});
       }},
      {"sum_to.column",
       [](X x) {
         return sum_to(x[0], {4, 1});
       }},
      {"sum_to.one", [](X x) { return sum_to(x[0], {}); }},

      {"reshape",
       [](X x) {
         return reshape(x[0], {5, -1});
       }},
      {"reshape.transposed", [](X x) { return reshape(transpose(x[0]), {15}); }},
      {"flatten", [](X x) { return flatten(x[0], 1, 2); }},
      {"transpose", [](X x) { return transpose(x[0]); }},
      {"transpose.outer", [](X x) { return transpose(x[0], 0, 2); }},
      {"permute",
       [](X x) {
         return permute(x[0], {2, 0, 3, 1});
       }},
      {"unsqueeze", [](X x) { return unsqueeze(x[0], 1); }},
      {"squeeze", [](X x) { return squeeze(x[0], 1); }},
      {"expand",
       [](X x) {
         return expand(x[0], {4, 3, 5});
       }},
      {"slice", [](X x) { return slice(x[0], 1, 1, 4); }},
      {"slice.step", [](X x) { return slice(x[0], 0, 1, -1, 2); }},
      {"select", [](X x) { return select(x[0], 1, -2); }},
      {"concat", [](X x) { return concat(x, 1); }},
      {"stack", [](X x) { return stack(x, 1); }},
      {"unbind",
       [](X x) {
         const TensorList parts = unbind(x[0], 1);
         return std::vector<Tensor>(parts.begin(), parts.end());
       }},
      {"contiguous", [](X x) { return contiguous(transpose(x[0])); }},

      {"squeeze.all", [](X x) { return squeeze(x[0]); }},
      {"squeeze.several",
       [](X x) {
         return squeeze(x[0], {0, 1, -1});
       }},
      {"expand.-1",
       [](X x) {
         return expand(x[0], {2, -1, 4});
       }},
      {"split", [](X x) { return all_of(split(x[0], 2, 1)); }},
      {"split.sizes",
       [](X x) {
         return all_of(split(x[0], {1, 3, 1}, 1));
       }},
      {"chunk", [](X x) { return all_of(chunk(x[0], 3, -1)); }},
      {"clone", [](X x) { return clone(x[0]); }},
      {"detach", [](X x) { return x[0] * detach(x[0]); }},
      {"scalar.softmax", [](X x) { return x[0] * softmax(x[0], 0); }},
      {"scalar.log_softmax", [](X x) { return x[0] * log_softmax(x[0], -1); }},
      {"scalar.logsumexp", [](X x) { return square(logsumexp(x[0], 0)); }},
      {"scalar.amax", [](X x) { return square(max(x[0], -1)); }},
      {"scalar.gather", [](X x) { return square(gather(x[0], 0, x[1])); }},
      {"scalar.index_select", [](X x) { return square(index_select(x[0], 0, x[1])); }},
      {"scalar.scatter_add", [](X x) { return square(scatter_add(x[0], 0, x[1], x[2])); }},
      {"scalar.index_add", [](X x) { return square(index_add(x[0], 0, x[1], x[2])); }},
      {"dot", [](X x) { return dot(x[0], x[1]); }},
      {"outer", [](X x) { return outer(x[0], x[1]); }},
      {"matmul.vector", [](X x) { return matmul(x[0], x[1]); }},
      {"matmul.vector left", [](X x) { return matmul(x[0], x[1]); }},
      {"pow.of a number", [](X x) { return pow(1.75, x[0]); }},
      {"pow.of 0", [](X x) { return pow(0, x[0]); }},
      {"maximum.number", [](X x) { return maximum(x[0], 0.5); }},
      {"minimum.number", [](X x) { return minimum(0.5, x[0]); }},
      {"clamp.tensors", [](X x) { return clamp(x[0], x[1], x[2]); }},
      {"clamp.low alone", [](X x) { return clamp(x[0], x[1], Tensor()); }},

      {"gather.1", [](X x) { return gather(x[0], 1, x[1]); }},
      {"gather.-2", [](X x) { return gather(x[0], -2, x[1]); }},
      {"scatter_add.1", [](X x) { return scatter_add(x[0], 1, x[1], x[2]); }},
      {"scatter_add.0", [](X x) { return scatter_add(x[0], 0, x[1], x[2]); }},
      {"index_select.1", [](X x) { return index_select(x[0], 1, x[1]); }},
      {"index_select.-3", [](X x) { return index_select(x[0], -3, x[1]); }},
      {"index_add.0", [](X x) { return index_add(x[0], 0, x[1], x[2]); }},
      {"index_add.-2", [](X x) { return index_add(x[0], -2, x[1], x[2]); }},
      {"embedding", [](X x) { return embedding(x[0], x[1]); }},
      {"one_hot", [](X x) { return one_hot(x[0], 4, DType::f64); }},

      {"matmul.NN", [](X x) { return matmul(x[0], x[1]); }},
      {"matmul.NT", [](X x) { return matmul(x[0], x[1], false, true); }},
      {"matmul.TN", [](X x) { return matmul(x[0], x[1], true); }},
      {"matmul.TT", [](X x) { return matmul(x[0], x[1], true, true); }},
      {"linear", [](X x) { return linear(x[0], x[1], optional(x, 2)); }},
      {"linear.relu", [](X x) { return linear(x[0], x[1], optional(x, 2), Activation::relu); }},

      {"max_pool2d.plain",
       [](X x) {
         return max_pool2d(x[0], {2, 3});
       }},
      {"max_pool2d.padded",
       [](X x) {
         return max_pool2d(x[0], {3, 2}, {.stride = Pair{2, 1}, .padding = {1, 1}});
       }},
      {"max_pool2d.ceil",
       [](X x) {
         return max_pool2d(x[0], {3, 2}, {.stride = Pair{2, 2}, .ceil_mode = true});
       }},
      {"max_pool2d.dilated",
       [](X x) {
         return max_pool2d(
             x[0], {2, 3},
             {.stride = Pair{2, 2}, .padding = {1, 1}, .dilation = {2, 1}, .ceil_mode = true});
       }},
      {"avg_pool2d.plain",
       [](X x) {
         return avg_pool2d(x[0], {2, 3});
       }},
      {"avg_pool2d.padded",
       [](X x) {
         return avg_pool2d(x[0], {3, 2}, {.stride = Pair{2, 1}, .padding = {1, 1}});
       }},
      {"avg_pool2d.ceil",
       [](X x) {
         return avg_pool2d(x[0], {3, 2},
                           {.stride = Pair{2, 2}, .padding = {1, 1}, .ceil_mode = true});
       }},
      {"avg_pool2d.uncounted",
       [](X x) {
         return avg_pool2d(x[0], {3, 2},
                           {.stride = Pair{2, 2},
                            .padding = {1, 1},
                            .ceil_mode = true,
                            .count_include_pad = false});
       }},

      {"batch_norm", [](X x) { return results(batch_norm(x[0], optional(x, 1), optional(x, 2))); }},
      {"batch_norm.eps", [](X x) { return results(batch_norm(x[0], x[1], x[2], {.eps = 0.3})); }},
      {"batch_norm.last",
       [](X x) { return results(batch_norm(x[0], x[1], x[2], {.axis = ChannelAxis::last})); }},
      {"batch_norm.masked",
       [](X x) { return results(batch_norm(x[0], x[2], x[3], {.valid = x[1]})); }},
      {"batch_norm.last masked",
       [](X x) {
         return results(batch_norm(x[0], x[2], x[3], {.axis = ChannelAxis::last, .valid = x[1]}));
       }},
      {"batch_norm.relu",
       [](X x) {
         return results(
             batch_norm(x[0], optional(x, 1), optional(x, 2), {.activation = Activation::relu}));
       }},
      {"batch_norm.relu last masked",
       [](X x) {
         return results(batch_norm(
             x[0], x[2], x[3],
             {.axis = ChannelAxis::last, .valid = x[1], .activation = Activation::relu}));
       }},
      {"batch_norm_inference",
       [](X x) { return batch_norm_inference(x[0], x[1], x[2], optional(x, 3), optional(x, 4)); }},
      {"batch_norm_inference.relu",
       [](X x) {
         return batch_norm_inference(x[0], x[1], x[2], x[3], x[4],
                                     {.activation = Activation::relu});
       }},
      {"batch_norm_inference.last masked",
       [](X x) {
         return batch_norm_inference(x[0], x[1], x[2], x[4], x[5],
                                     {.axis = ChannelAxis::last, .valid = x[3]});
       }},
      {"layer_norm.1", [](X x) { return layer_norm(x[0], {5}, optional(x, 1), optional(x, 2)); }},
      {"layer_norm.2",
       [](X x) {
         return layer_norm(x[0], {4, 5}, x[1], x[2]);
       }},
      {"layer_norm.eps", [](X x) { return layer_norm(x[0], {5}, x[1], x[2], {.eps = 0.3}); }},
      {"layer_norm.relu",
       [](X x) {
         return layer_norm(x[0], {5}, optional(x, 1), optional(x, 2),
                           {.activation = Activation::relu});
       }},
      {"rms_norm.1", [](X x) { return rms_norm(x[0], {5}, optional(x, 1)); }},
      {"rms_norm.2",
       [](X x) {
         return rms_norm(x[0], {4, 5}, x[1], {.eps = 0.3});
       }},
      {"rms_norm.masked", [](X x) { return rms_norm(x[0], {5}, x[2], {.valid = x[1]}); }},
      {"group_norm.1", [](X x) { return group_norm(x[0], 1, x[1], x[2]); }},
      {"group_norm.2", [](X x) { return group_norm(x[0], 2, optional(x, 1), optional(x, 2)); }},
      {"group_norm.4", [](X x) { return group_norm(x[0], 4, x[1], x[2]); }},
      {"group_norm.relu",
       [](X x) {
         return group_norm(x[0], 2, x[1], x[2], {.eps = 0.3, .activation = Activation::relu});
       }},
      {"group_norm.masked", [](X x) { return group_norm(x[0], 2, x[2], x[3], {.valid = x[1]}); }},
      {"layer_norm.masked", [](X x) { return layer_norm(x[0], {5}, x[2], x[3], {.valid = x[1]}); }},

      {"cross_entropy.ignored", [](X x) { return cross_entropy(x[0], x[1], {.ignore_index = 1}); }},
      {"dropout", [](X x) { return dropout_with(x[0], x[1], 0.3); }},
  };

  for (double exponent : {1.7, -1.5, 0.5, 0.0, 1.0, 2.0, 3.0, -1.0})
    rows.push_back({fmt::format("pow.{}", exponent), [=](X x) { return pow(x[0], exponent); }});

  const std::tuple<const char*, Axes, bool> reductions[] = {{"all", {}, false},
                                                            {"0", {0}, false},
                                                            {"-1", {-1}, false},
                                                            {"1,2", {1, 2}, true},
                                                            {"0,2", {0, 2}, false}};
  for (const auto& [name, axes, keepdim] : reductions) {
    const auto reduce = [&, axes = axes, keepdim = keepdim, name = name](const char* op, auto f) {
      rows.push_back({fmt::format("{}.{}", op, name), [=](X x) { return f(x[0], axes, keepdim); }});
    };
    reduce("sum", sum);
    reduce("mean", mean);
    reduce("var", [](const Tensor& x, const Axes& over, bool keep) { return var(x, over, keep); });
    reduce("max", max);
    reduce("min", min);
    reduce("argmax",
           [](const Tensor& x, const Axes& over, bool keep) { return argmax(x, over, keep); });
  }

  for (int64_t axis : {-1, 0, 1}) {
    const auto along = [&](const char* op, auto f) {
      rows.push_back({fmt::format("{}.{}", op, axis), [=](X x) { return f(x[0], axis); }});
    };
    along("softmax", softmax);
    along("log_softmax", log_softmax);
    along("logsumexp", [](const Tensor& x, int64_t i) { return logsumexp(x, i, i == 1); });
  }

  const std::pair<const char*, Conv2dOptions> convolutions[] = {
      {"plain", {}},
      {"padded", {.padding = {1, 2}}},
      {"strided", {.stride = {2, 3}, .padding = {1, 0}}},
      {"dilated", {.stride = {1, 2}, .padding = {0, 2}, .dilation = {3, 2}, .groups = 2}},
      {"groups", {.padding = {1, 1}, .groups = 2}},
      {"depthwise", {.stride = {2, 1}, .padding = {1, 1}, .groups = 3}},
      {"pointwise", {}},
      {"pointwise strided", {.stride = {2, 3}}},
      {"pointwise groups", {.groups = 2}}};
  for (const auto& [name, options] : convolutions)
    rows.push_back({fmt::format("conv2d.{}", name), [options = options](X x) {
                      return conv2d(x[0], x[1], optional(x, 2), options);
                    }});

  for (Pair size : {Pair{1, 1}, {2, 3}, {3, 4}, {5, 7}})
    rows.push_back({fmt::format("adaptive_avg_pool2d.{}x{}", size.h, size.w),
                    [=](X x) { return adaptive_avg_pool2d(x[0], size); }});

  const auto attend = [&](const char* name, AttentionOptions (*options)(X)) {
    rows.push_back({fmt::format("attention.{}", name), [=](X x) {
                      return scaled_dot_product_attention(x[0], x[1], x[2], options(x));
                    }});
  };
  attend("plain", [](X) { return AttentionOptions{}; });
  attend("scale", [](X) { return AttentionOptions{.scale = -0.7}; });
  attend("causal", [](X) { return AttentionOptions{.causal = true}; });
  attend("mask", [](X x) { return AttentionOptions{.mask = x[3]}; });
  attend("padding", [](X x) { return AttentionOptions{.key_padding = x[3]}; });
  attend("all",
         [](X x) { return AttentionOptions{.mask = x[4], .key_padding = x[3], .causal = true}; });
  const auto attend_to_itself = [&](const char* name, AttentionOptions (*options)(X)) {
    rows.push_back({fmt::format("self_attention.{}", name),
                    [=](X x) { return self_attention(x[0], 2, options(x)); }});
  };
  attend_to_itself("plain", [](X) { return AttentionOptions{}; });
  attend_to_itself("causal", [](X) { return AttentionOptions{.causal = true}; });
  attend_to_itself("mask", [](X x) { return AttentionOptions{.mask = x[1]}; });
  attend_to_itself("padding", [](X x) { return AttentionOptions{.key_padding = x[1]}; });
  attend_to_itself("all", [](X x) {
    return AttentionOptions{.mask = x[2], .key_padding = x[1], .causal = true};
  });

  const std::pair<const char*, CellKind> cells[] = {{"rnn", CellKind::tanh},
                                                    {"rnn_relu", CellKind::relu},
                                                    {"lstm", CellKind::lstm},
                                                    {"gru", CellKind::gru}};
  for (const auto& [name, kind] : cells)
    rows.push_back({name, [kind = kind](X x) {
                      const auto [y, state] =
                          recurrence(kind, x[0], {x[5], optional(x, 6)}, {x[1], x[2], x[3], x[4]});
                      std::vector<Tensor> results;
                      for (const Tensor& result : {state.h, state.c, y})
                        if (result) results.push_back(result);
                      return results;
                    }});

  for (const auto& [name, reduction] : kReductions) {
    const auto loss = [&, name = name](const char* format, auto f) {
      rows.push_back({fmt::format(fmt::runtime(format), name), f});
    };
    for (double smoothing : {0.0, 0.2})
      loss(smoothing > 0 ? "cross_entropy.{} smoothed" : "cross_entropy.{}",
           [=, reduction = reduction](X x) {
             return cross_entropy(
                 x[0], x[1],
                 {.label_smoothing = smoothing, .weight = optional(x, 2), .reduction = reduction});
           });
    loss("mse_loss.{}", [r = reduction](X x) { return mse_loss(x[0], x[1], r); });
    loss("huber_loss.{}", [r = reduction](X x) { return huber_loss(x[0], x[1], 0.7, r); });
    loss("bce.{}", [r = reduction](X x) {
      return binary_cross_entropy_with_logits(x[0], x[1], {optional(x, 2), optional(x, 3), r});
    });
  }
  for (auto more : {more_losses(), windows(), sizes()})
    for (Row& row : more) rows.push_back(std::move(row));
  return rows;
}

/// Integers, order, scans, index maps and more functions of one element.
std::vector<Row> more_rows() {
  const auto both = [](const ValuesAndIndices& y) {
    return std::vector<Tensor>{y.values, y.indices};
  };
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<Row> rows{{"integers.plus", [](X x) { return x[0] + 2; }},
                        {"clamp.integers", [](X x) { return clamp(x[0], -2, 3); }},
                        {"cumsum.0", [](X x) { return cumsum(x[0], 0); }},
                        {"cumsum.-2", [](X x) { return cumsum(x[0], -2); }},
                        {"prod.all", [](X x) { return prod(x[0]); }},
                        {"prod.1", [](X x) { return prod(x[0], {1}); }},
                        {"any.0", [](X x) { return any(x[0], {0}); }},
                        {"all.0", [](X x) { return all(x[0], {0}); }},
                        {"flip.1", [](X x) { return flip(x[0], {1}); }},
                        {"flip.0,2",
                         [](X x) {
                           return flip(x[0], {0, 2});
                         }},
                        {"roll.2", [](X x) { return roll(x[0], 2, 1); }},
                        {"roll.-5", [](X x) { return roll(x[0], -5, 1); }},
                        {"tile",
                         [](X x) {
                           return tile(x[0], {2, 1, 3});
                         }},
                        {"repeat_interleave", [](X x) { return repeat_interleave(x[0], 3, 0); }},
                        {"pad.constant",
                         [](X x) {
                           return pad(x[0], {1, 2, 0, 1}, PadMode::constant, -1.5);
                         }},
                        {"pad.negative",
                         [](X x) {
                           return pad(x[0], {-1, 2, 1, -2});
                         }},
                        {"pad.reflect",
                         [](X x) {
                           return pad(x[0], {2, 3, 1, 0}, PadMode::reflect);
                         }},
                        {"pad.replicate",
                         [](X x) {
                           return pad(x[0], {2, 5, 1, 0}, PadMode::replicate);
                         }},
                        {"nonzero", [](X x) { return nonzero(x[0]); }},
                        {"masked_select", [](X x) { return masked_select(x[0], x[1]); }},
                        {"linspace", [](X) { return linspace(-1.5, 3, 7, DType::f64); }},
                        {"arange.2,11,3", [](X) { return arange(2, 11, 3); }},
                        {"arange.fractions", [](X) { return arange(1, -0.6, -0.25, DType::f64); }},
                        {"log1p", [](X x) { return log1p(x[0]); }},
                        {"expm1", [](X x) { return expm1(x[0]); }},
                        {"leaky_relu", [](X x) { return leaky_relu(x[0], 0.2); }},
                        {"elu", [](X x) { return elu(x[0], 0.7); }},
                        {"round", [](X x) { return round(x[0]); }},
                        {"floor", [](X x) { return floor(x[0]); }},
                        {"ceil", [](X x) { return ceil(x[0]); }}};
  for (int64_t axis : {0, 1}) {
    for (bool down : {false, true}) {
      const char* const flag = down ? "True" : "False";
      rows.push_back({fmt::format("sort.{}.{}", axis, flag),
                      [=](X x) { return both(sort(x[0], axis, down)); }});
      rows.push_back({fmt::format("topk.{}.{}", axis, flag),
                      [=](X x) { return both(topk(x[0], 2, axis, down)); }});
    }
    rows.push_back({fmt::format("max_with_indices.{}", axis),
                    [=](X x) { return both(max_with_indices(x[0], axis)); }});
    rows.push_back({fmt::format("min_with_indices.{}", axis),
                    [=](X x) { return both(min_with_indices(x[0], axis)); }});
    rows.push_back({fmt::format("argmin.{}", axis), [=](X x) { return argmin(x[0], axis); }});
  }
  const std::tuple<const char*, Axes, bool> reductions[] = {{"all", {}, false},
                                                            {"0", {0}, false},
                                                            {"-1", {-1}, false},
                                                            {"1,2", {1, 2}, true},
                                                            {"0,2", {0, 2}, false}};
  for (const auto& [name, axes, keepdim] : reductions) {
    const auto reduce = [&, axes = axes, keepdim = keepdim](const std::string& row, auto f) {
      rows.push_back({row, [=](X x) { return f(x[0], axes, keepdim); }});
    };
    reduce(fmt::format("stddev.{}", name),
           [](const Tensor& x, const Axes& over, bool keep) { return stddev(x, over, keep); });
    reduce(fmt::format("logsumexp.axes.{}", name),
           [](const Tensor& x, const Axes& over, bool keep) { return logsumexp(x, over, keep); });
    for (double p : {1.0, 2.0, 3.0, 0.5, inf})
      reduce(fmt::format("norm.{}.{}", name, p),
             [p](const Tensor& x, const Axes& over, bool keep) { return norm(x, p, over, keep); });
  }
  for (int64_t k : {-1, 0, 2}) {
    rows.push_back({fmt::format("tril.{}", k), [=](X x) { return tril(x[0], k); }});
    rows.push_back({fmt::format("triu.{}", k), [=](X x) { return triu(x[0], k); }});
  }
  for (const char* equation : {"ij,jk->ik", "bij,bjk->bki", "bij,jkbl->bk", "i,j->ij", "ij,ij->j",
                               "iij->j", "ij,jk,kl", "ba", "bi,oij,bj->bo"})
    rows.push_back({fmt::format("einsum.{}", equation), [=](X x) { return einsum(equation, x); }});
  return rows;
}

enum class Way { f64, f64_views, f32 };

class Run {
 public:
  Run(const Case& c, const Row& row, Way way) : case_(c), row_(row), way_(way) {
    for (const auto& [i, x] : c.numbered("x")) {
      inputs_.push_back(placed(x));
      if (!c.has(fmt::format("dx{}", i))) continue;
      leaves_.push_back(inputs_.back().set_requires_grad());
      leaf_numbers_.push_back(i);
    }
  }

  /// Values, and gradients as training computes them.
  void first_order() const {
    Tape tape;
    const std::vector<Tensor> ys = row_.f(inputs_);
    const auto expected = case_.numbered("y");
    BOOST_TEST_REQUIRE(ys.size() == expected.size());
    for (const auto& [i, y] : expected) compare("y", i, ys[static_cast<size_t>(i)], y);
    if (leaves_.empty()) return;
    const auto dys = upstream();
    const auto dxs = tape.gradient(projected(ys, dys), leaves_, {.dy = start(dys)});
    for (size_t k = 0; k < dxs.size(); ++k)
      compare("dx", leaf_numbers_[k], dxs[k], case_.at(fmt::format("dx{}", leaf_numbers_[k])));
  }

  /// The gradients once more, by a sweep that records itself, and theirs. Adds the names of the ops
  /// that were recorded to `seen`.
  void second_order(std::set<std::string>& seen) const {
    if (leaves_.empty()) return;
    Tape tape;
    auto dys = upstream();
    std::vector<Tensor> wanted = leaves_;
    for (auto& [i, dy] : dys) wanted.push_back(dy.set_requires_grad());
    const Tensor y = projected(row_.f(inputs_), dys);
    const auto dxs =
        tape.gradient(y, leaves_, {.create_graph = CreateGraph::yes, .dy = start(dys)});
    Tensor total = zeros({}, y.dtype());
    for (size_t k = 0; k < dxs.size(); ++k) {
      const int i = leaf_numbers_[k];
      compare("recorded dx", i, dxs[k], case_.at(fmt::format("dx{}", i)));
      const std::string v = fmt::format("v{}", i);
      if (!case_.has(v)) return;
      total = total + sum(dxs[k] * placed(case_.at(v)).set_requires_grad());
    }
    const auto second =
        tape.gradient(total, wanted, {.create_graph = CreateGraph::yes, .allow_unused = true});
    for (uint32_t i = 0; i < tape.size(); ++i) seen.insert(tape.info(i).op);
    const auto compare_second = [&](const char* what, int i, const Tensor& d, const Shape& shape) {
      // Where no path leads, PyTorch has none.
      const std::string key = fmt::format("{}{}", what, i);
      const Tensor zero = zeros(shape, DType::f64);
      compare(what, i, d ? d : zero, case_.has(key) ? case_.at(key) : zero);
    };
    size_t k = 0;
    for (int i : leaf_numbers_) compare_second("ddx", i, second[k], wanted[k].shape()), ++k;
    for (const auto& [i, dy] : dys) compare_second("ddy", i, second[k++], dy.shape());
  }

 private:
  DType dtype() const { return way_ == Way::f32 ? DType::f32 : DType::f64; }
  Tensor placed(const Tensor& x) const {
    if (way_ == Way::f64_views) return scattered(x);
    return in(dtype(), x);
  }
  std::map<int, Tensor> upstream() const {
    auto dys = case_.numbered("dy");
    for (auto& [i, dy] : dys) dy = placed(dy);
    return dys;
  }
  /// The only y with a gradient, whose sweep starts with its dy, or sum_i <y_i, dy_i>.
  Tensor projected(const std::vector<Tensor>& ys, const std::map<int, Tensor>& dys) const {
    if (dys.size() == 1) return ys[static_cast<size_t>(dys.begin()->first)];
    Tensor total = zeros({}, ys[0].dtype());
    for (const auto& [i, dy] : dys) total = total + sum(ys[static_cast<size_t>(i)] * dy);
    return total;
  }
  Tensor start(const std::map<int, Tensor>& dys) const {
    return dys.size() == 1 ? dys.begin()->second : Tensor();
  }
  void compare(const char* what, int i, const Tensor& y, const Tensor& expected) const {
    const char* const ways[] = {"f64", "f64 views", "f32"};
    check_same(fmt::format("{}, {}: {}{}", case_.name, ways[static_cast<int>(way_)], what, i), y,
               expected, dtype(), kRoundings);
  }

  const Case& case_;
  const Row& row_;
  Way way_;
  std::vector<Tensor> inputs_, leaves_;
  std::vector<int> leaf_numbers_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(ops_are_pytorchs) {
  std::set<std::string> seen;
  std::vector<Row> all = rows();
  for (Row& row : sequence_rows()) all.push_back(std::move(row));
  for (Row& row : more_rows()) all.push_back(std::move(row));
  for_each_case(load_cases("ops.safetensors"), all, [&](const Case& c, const Row& row) {
    for (Way way : {Way::f64, Way::f64_views, Way::f32}) {
      const Run run(c, row, way);
      run.first_order();
      run.second_order(seen);
    }
  });
  // Constants to every tape; their values are compared above.
  for (const char* constant : {"step", "sign", "inside"}) seen.insert(constant);
  for (const Op* op : all_ops())
    BOOST_TEST(seen.contains(op->name), "the op " << op->name << " is in no case");
}
