#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cast.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/layers/lengths.h>
#include <gradus/models/transformer.h>

namespace gradus {

namespace {

/// x + f(norm(x)), or norm(x + f(x)).
template <class F>
Tensor residual(NormPlace place, AnyNorm& norm, const Tensor& x, const Tensor& valid, const F& f) {
  if (place == NormPlace::before) return x + f(norm(x, valid));
  return norm(x + f(x), valid);
}

LinearOptions first_of_mlp(MlpActivation activation) {
  return {.activation = activation == MlpActivation::relu ? Activation::relu : Activation::none};
}

/// The perceptron of a block; relu is a part of linear1.
Tensor perceptron(const Tensor& x, Linear& linear1, MlpActivation activation, Dropout& dropout,
                  Linear& linear2) {
  const Tensor h = linear1(x);
  return dropout(linear2(dropout(activation == MlpActivation::gelu ? gelu(h) : h)));
}

std::string block_text(const char* kind, NormPlace place, MlpActivation activation) {
  return fmt::format("{}(norm {}{})", kind, place == NormPlace::before ? "before" : "after",
                     activation == MlpActivation::gelu ? ", gelu" : "");
}

}  // namespace

EncoderBlock::EncoderBlock(const TransformerOptions& options)
    : place_(options.norm_place),
      activation_(options.activation),
      norm1_(feature_norm(options.norm, options.dim)),
      norm2_(feature_norm(options.norm, options.dim)),
      self_attn_(options.dim, options.heads,
                 {.dropout = options.dropout, .rotary = options.rotary}),
      linear1_(options.dim, options.mlp_dim, first_of_mlp(activation_)),
      linear2_(options.mlp_dim, options.dim),
      dropout_(options.dropout) {}

template <class Attend>
Tensor EncoderBlock::run(const Tensor& x, const Tensor& valid, const Attend& attend) {
  const ForwardScope scope(*this);
  const Tensor h =
      residual(place_, norm1_, x, valid, [&](const Tensor& y) { return dropout_(attend(y)); });
  return residual(place_, norm2_, h, valid, [&](const Tensor& y) {
    return perceptron(y, linear1_, activation_, dropout_, linear2_);
  });
}

Tensor EncoderBlock::forward(const Tensor& x, const AttentionMask& mask) {
  return run(x, mask.valid, [&](const Tensor& y) { return self_attn_(y, mask); });
}

Tensor EncoderBlock::forward(const Tensor& x, KeyValueCache& cache) {
  return run(x, {}, [&](const Tensor& y) { return self_attn_.forward(y, cache); });
}

void EncoderBlock::visit(Visitor& visitor) {
  visitor.module("self_attn", self_attn_);
  visitor.module("linear1", linear1_);
  visitor.module("dropout", dropout_);
  visitor.module("linear2", linear2_);
  visitor.module("norm1", *norm1_);
  visitor.module("norm2", *norm2_);
}

std::string EncoderBlock::describe() const {
  return block_text("EncoderBlock", place_, activation_);
}

DecoderBlock::DecoderBlock(const TransformerOptions& options)
    : place_(options.norm_place),
      activation_(options.activation),
      norm1_(feature_norm(options.norm, options.dim)),
      norm2_(feature_norm(options.norm, options.dim)),
      norm3_(feature_norm(options.norm, options.dim)),
      self_attn_(options.dim, options.heads,
                 {.dropout = options.dropout, .rotary = options.rotary}),
      multihead_attn_(options.dim, options.heads, {.dropout = options.dropout}),
      linear1_(options.dim, options.mlp_dim, first_of_mlp(activation_)),
      linear2_(options.mlp_dim, options.dim),
      dropout_(options.dropout) {}

template <class Attend>
Tensor DecoderBlock::run(const Tensor& x, const Tensor& memory, const Tensor& valid,
                         const AttentionMask& memory_mask, const Attend& attend) {
  const ForwardScope scope(*this);
  const Tensor own =
      residual(place_, norm1_, x, valid, [&](const Tensor& y) { return dropout_(attend(y)); });
  const Tensor h = residual(place_, norm2_, own, valid, [&](const Tensor& y) {
    return dropout_(multihead_attn_.forward(y, memory, memory, memory_mask));
  });
  return residual(place_, norm3_, h, valid, [&](const Tensor& y) {
    return perceptron(y, linear1_, activation_, dropout_, linear2_);
  });
}

Tensor DecoderBlock::forward(const Tensor& x, const Tensor& memory, const AttentionMask& mask,
                             const AttentionMask& memory_mask) {
  return run(x, memory, mask.valid, memory_mask,
             [&](const Tensor& y) { return self_attn_(y, mask); });
}

Tensor DecoderBlock::forward(const Tensor& x, const Tensor& memory, KeyValueCache& cache,
                             const AttentionMask& memory_mask) {
  return run(x, memory, {}, memory_mask,
             [&](const Tensor& y) { return self_attn_.forward(y, cache); });
}

void DecoderBlock::visit(Visitor& visitor) {
  visitor.module("self_attn", self_attn_);
  visitor.module("multihead_attn", multihead_attn_);
  visitor.module("linear1", linear1_);
  visitor.module("dropout", dropout_);
  visitor.module("linear2", linear2_);
  visitor.module("norm1", *norm1_);
  visitor.module("norm2", *norm2_);
  visitor.module("norm3", *norm3_);
}

std::string DecoderBlock::describe() const {
  return block_text("DecoderBlock", place_, activation_);
}

Transformer::Transformer(int64_t steps, int64_t features, int64_t classes,
                         TransformerOptions options)
    : project_(features, options.dim),
      positions_({steps, options.dim}, Init::normal(0.02)),
      norm_(options.norm_place == NormPlace::before ? feature_norm(options.norm, options.dim)
                                                    : feature_norm(Norm::none, options.dim)),
      head_(options.dim, classes) {
  constexpr int64_t kMostBlocks = 1 << 16;
  check(options.depth > 0 && options.depth <= kMostBlocks, "Transformer: depth {}, not 1 to {}",
        options.depth, kMostBlocks);
  for (int64_t i = 0; i < options.depth; ++i) blocks_.emplace_back(options);
}

Tensor Transformer::forward(const Tensor& x, const Tensor& lengths) {
  const ForwardScope scope(*this);
  check(x.ndim() == 3, "Transformer: x must be (N, T, features), is {}", x.shape());
  const int64_t steps = x.size(1);
  check(steps > 0 && steps <= positions_.size(0),
        "Transformer: {} steps in x {}, built for 1 to {}", steps, x.shape(), positions_.size(0));
  const Tensor valid = lengths ? length_mask(lengths, steps) : Tensor();
  const Tensor counts = valid ? sum(cast(valid, x.dtype()), {1}, true) : Tensor();
  check(!valid || all(counts > 0),
        "Transformer: a sequence of x {} has length 0, so there is no mean over its steps",
        x.shape());
  const Tensor tokens = project_(valid ? clear_padding(x, valid) : x);
  Tensor h = tokens + slice(positions_, 0, 0, steps);
  for (EncoderBlock& block : blocks_) h = block(h, {.valid = valid});
  h = norm_(h, valid);
  if (!valid) return head_(mean(h, {1}));
  return head_(sum(clear_padding(h, valid), {1}) / counts);
}

void Transformer::visit(Visitor& visitor) {
  visitor.module("project", project_);
  visitor.parameter("positions", positions_);
  visitor.modules("blocks", blocks_);
  visitor.module("norm", *norm_);
  visitor.module("head", head_);
}

std::string Transformer::describe() const { return "Transformer"; }

Tensor patches(const Tensor& x, int64_t size) {
  check(x.ndim() == 4 && size > 0 && x.size(2) % size == 0 && x.size(3) % size == 0,
        "patches: {} cannot be cut into squares of {}", x.shape(), size);
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2) / size, w = x.size(3) / size;
  const Tensor grid = permute(reshape(x, {n, c, h, size, w, size}), {0, 2, 4, 1, 3, 5});
  return reshape(grid, {n, h * w, c * size * size});
}

}  // namespace gradus
