#pragma once
#include <gradus/layers/embedding.h>
#include <gradus/layers/rnn.h>
#include <gradus/models/generate.h>
#include <gradus/models/transformer.h>

namespace gradus {

/// How a TransformerLanguageModel tells positions apart: by a vector each that is learned, by
/// sinusoidal_positions() added to the embeddings times sqrt(dim), or by rotary() in the attention.
enum class Positions { learned, sinusoidal, rotary };

/// What a TransformerLanguageModel is made of.
struct TransformerLanguageModelOptions {
  TransformerOptions blocks = {.dim = 128,
                               .heads = 4,
                               .depth = 4,
                               .mlp_dim = 512,
                               .activation = MlpActivation::gelu};  ///< its blocks
  Positions positions = Positions::learned;  ///< how positions are told apart
  bool tied = true;  ///< the last Linear has the embedding's weight (Press & Wolf 2017)
};

/// The next token at each position of a sequence from those up to it: embedding, positions, causal
/// EncoderBlocks, a last norm if norms stand before, and a Linear without bias (Radford et al.
/// 2018).   tokens: (N, T) i64, T up to `context`   y: (N, T, vocabulary), logits
class TransformerLanguageModel : public UnaryModule {
 public:
  /// Of so many tokens, which sees so many positions at once.
  TransformerLanguageModel(int64_t vocabulary, int64_t context,
                           TransformerLanguageModelOptions options = {});
  Tensor forward(const Tensor& tokens) override;
  /// See gradus::generate(); evaluated, each token at the cost of one position by a KeyValueCache
  /// in each block. Where there are more tokens than the context, it goes on from the last context
  /// / 2.
  Tensor generate(const Tensor& prompt, int64_t count, const SamplingOptions& options = {},
                  Generator& generator = default_generator());
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Tensor embed(const Tensor& tokens, int64_t first);

  Embedding embedding_;
  Parameter positions_;  // (context, dim), of learned
  Tensor waves_;         // (context, dim) f64, of sinusoidal
  std::vector<EncoderBlock> blocks_;
  AnyNorm norm_;
  Linear head_;
  int64_t context_;
};

/// What an LstmLanguageModel is made of.
struct LstmLanguageModelOptions {
  int64_t hidden = 128;    ///< features of the embedding, units of each layer
  int64_t num_layers = 1;  ///< of the Lstm
  double dropout = 0;      ///< of what enters the Lstm's layers and the last Linear, in training
  bool tied = false;       ///< the last Linear has the embedding's weight (Press & Wolf 2017)
};

/// The next token at each position of a sequence from those up to it: embedding, Lstm, Linear
/// (Zaremba et al. 2014).   tokens: (N, T) i64   y: (N, T, vocabulary), logits
class LstmLanguageModel : public UnaryModule {
 public:
  /// Of so many tokens.
  explicit LstmLanguageModel(int64_t vocabulary, LstmLanguageModelOptions options = {});
  Tensor forward(const Tensor& tokens) override;
  /// See gradus::generate(); evaluated, each token at the cost of one step.
  Tensor generate(const Tensor& prompt, int64_t count, const SamplingOptions& options = {},
                  Generator& generator = default_generator());
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Embedding embedding_;
  Dropout dropout_;
  Lstm lstm_;
  Linear head_;
};

}  // namespace gradus
