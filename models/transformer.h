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
  bool rotary = false;  ///< whether self-attention turns queries and keys by rotary()
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
  /// Causal, of positions behind those in the cache: see MultiHeadAttention.
  Tensor forward(const Tensor& x, KeyValueCache& cache);
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  template <class Attend>
  Tensor run(const Tensor& x, const Tensor& valid, const Attend& attend);

  NormPlace place_;
  MlpActivation activation_;
  AnyNorm norm1_, norm2_;
  MultiHeadAttention self_attn_;
  Linear linear1_, linear2_;
  Dropout dropout_;
};

/// The block of a decoder that looks at another sequence, the memory: causal self-attention,
/// attention from x to the memory, and a perceptron, each with a residual connection and a norm as
/// in an EncoderBlock. With layer norms PyTorch's TransformerDecoderLayer, batch first, with its
/// names.
class DecoderBlock : public Module {
 public:
  /// One block of such a Transformer.
  explicit DecoderBlock(const TransformerOptions& options);
  /// x: (N, T, dim)   memory: (N, M, dim)   y: like x   memory_mask: which of the memory it looks
  /// at
  Tensor forward(const Tensor& x, const Tensor& memory,
                 const AttentionMask& mask = {.causal = true},
                 const AttentionMask& memory_mask = {});
  Tensor operator()(const Tensor& x, const Tensor& memory,
                    const AttentionMask& mask = {.causal = true},
                    const AttentionMask& memory_mask = {}) {
    return forward(x, memory, mask, memory_mask);
  }
  /// Causal, of positions behind those in the cache: see MultiHeadAttention.
  Tensor forward(const Tensor& x, const Tensor& memory, KeyValueCache& cache,
                 const AttentionMask& memory_mask = {});
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  template <class Attend>
  Tensor run(const Tensor& x, const Tensor& memory, const Tensor& valid,
             const AttentionMask& memory_mask, const Attend& attend);

  NormPlace place_;
  MlpActivation activation_;
  AnyNorm norm1_, norm2_, norm3_;
  MultiHeadAttention self_attn_, multihead_attn_;
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
