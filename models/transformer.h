#pragma once
#include <gradus/layers/attention.h>
#include <gradus/layers/dropout.h>
#include <gradus/models/norm.h>

namespace gradus {

/// Where a block has its norms: see EncoderBlock.
enum class NormPlace { before, after };

/// Between the two layers of a block's perceptron; gelu in its exact form.
enum class MlpActivation { relu, gelu };

/// What a Transformer is made of.
struct TransformerOptions {
  int64_t dim = 32;                                ///< features of a position
  int64_t heads = 4;                               ///< of the attention
  int64_t depth = 2;                               ///< blocks
  int64_t mlp_dim = 64;                            ///< units of a block's perceptron
  double dropout = 0;                              ///< of what each part adds, in training
  NormChoice norm = Norm::layer;                   ///< of each part
  NormPlace norm_place = NormPlace::before;        ///< where they stand
  MlpActivation activation = MlpActivation::relu;  ///< of the perceptron
};

/// Self-attention and a two-layer perceptron, each with a residual connection and a norm: before,
/// x + f(norm(x)) (Xiong et al. 2020), or after, norm(x + f(x)) (Vaswani et al. 2017, section 3.1).
/// With layer norms PyTorch's TransformerEncoderLayer, batch first, with its names; causal, the
/// block of a language model. Batch Normalization takes its statistics over the valid (N, T) (Shen
/// et al. 2020, section 3).
class EncoderBlock : public Module {
 public:
  /// One block of such a Transformer.
  explicit EncoderBlock(const TransformerOptions& options);
  /// x: (N, T, dim)   y: like x   mask: who looks at whom, e.g. {.causal = true}
  Tensor forward(const Tensor& x, const AttentionMask& mask = {});
  Tensor operator()(const Tensor& x, const AttentionMask& mask = {}) { return forward(x, mask); }
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  NormPlace place_;
  MlpActivation activation_;
  AnyNorm norm1_, norm2_;
  MultiHeadAttention self_attn_;
  Linear linear1_, linear2_;
  Dropout dropout_;
};

/// An encoder that classifies sequences: projection, learned positions (Dosovitskiy et al. 2021,
/// section 3.1), encoder blocks, a last norm if norms stand before, the mean over valid positions,
/// Linear.  x: (N, T, features), T up to `steps`   y: (N, classes)
class Transformer : public UnaryModule {
 public:
  /// For up to so many steps.
  Transformer(int64_t steps, int64_t features, int64_t classes, TransformerOptions options = {});
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  /// lengths: (N) i64, or none: all have T steps
  Tensor forward(const Tensor& x, const Tensor& lengths);
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Linear project_;
  Parameter positions_;  // (steps, dim)
  std::vector<EncoderBlock> blocks_;
  AnyNorm norm_;
  Linear head_;
};

/// Images as sequences of square patches, row by row.  x: (N, C, H, W) -> (N, H W / size^2, C
/// size^2)
Tensor patches(const Tensor& x, int64_t size);

}  // namespace gradus
