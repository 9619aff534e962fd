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

EncoderBlock::EncoderBlock(const TransformerOptions& options)
    : place_(options.norm_place),
      activation_(options.activation),
      norm1_(feature_norm(options.norm, options.dim)),
      norm2_(feature_norm(options.norm, options.dim)),
      self_attn_(options.dim, options.heads, {.dropout = options.dropout}),
      linear1_(
          options.dim, options.mlp_dim,
          {.activation = activation_ == MlpActivation::relu ? Activation::relu : Activation::none}),
      linear2_(options.mlp_dim, options.dim),
      dropout_(options.dropout) {}

Tensor EncoderBlock::forward(const Tensor& x, const AttentionMask& mask) {
  const ForwardScope scope(*this);
  const Tensor& valid = mask.valid;
  const auto attend = [&](const Tensor& h) { return dropout_(self_attn_(h, mask)); };
  const auto mlp = [&](const Tensor& h) {
    const Tensor units = linear1_(h);
    return dropout_(linear2_(dropout_(activation_ == MlpActivation::gelu ? gelu(units) : units)));
  };
  if (place_ == NormPlace::before) {
    const Tensor h = x + attend(norm1_(x, valid));
    return h + mlp(norm2_(h, valid));
  }
  const Tensor h = norm1_(x + attend(x), valid);
  return norm2_(h + mlp(h), valid);
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
  return fmt::format("EncoderBlock(norm {}{})", place_ == NormPlace::before ? "before" : "after",
                     activation_ == MlpActivation::gelu ? ", gelu" : "");
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
  for (size_t i = 0; i < blocks_.size(); ++i)
    visitor.module(fmt::format("blocks.{}", i), blocks_[i]);
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
