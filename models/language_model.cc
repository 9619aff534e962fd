#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/positions.h>
#include <gradus/models/language_model.h>
#include <gradus/tensor/detail/indices.h>

#include <cmath>

namespace gradus {

namespace {

constexpr double kDeviation = 0.02;  // Radford et al. 2018, section 4.1

void check_tokens(const char* what, const Tensor& tokens) {
  check(tokens.ndim() == 2 && tokens.dtype() == DType::i64 && tokens.size(1) > 0,
        "{}: tokens must be i64 (N, T), are {} {}", what, name(tokens.dtype()), tokens.shape());
}

void check_evaluated(const Module& model) {
  check(!model.training(), "generate: {} is in training; call eval()", model.describe());
}

TransformerOptions block_options(const TransformerLanguageModelOptions& options) {
  TransformerOptions blocks = options.blocks;
  blocks.rotary |= options.positions == Positions::rotary;
  return blocks;
}

}  // namespace

TransformerLanguageModel::TransformerLanguageModel(int64_t vocabulary, int64_t context,
                                                   TransformerLanguageModelOptions options)
    : embedding_(vocabulary, options.blocks.dim),
      norm_(feature_norm(
          options.blocks.norm_place == NormPlace::before ? options.blocks.norm : Norm::none,
          options.blocks.dim)),
      head_(options.blocks.dim, vocabulary, {.bias = false}),
      context_(context) {
  constexpr int64_t kMostBlocks = 1 << 16;
  const TransformerOptions blocks = block_options(options);
  check(blocks.depth > 0 && blocks.depth <= kMostBlocks,
        "TransformerLanguageModel: depth {}, not 1 to {}", blocks.depth, kMostBlocks);
  check(context > 0, "TransformerLanguageModel: a context of {} positions", context);
  const bool sinusoidal = options.positions == Positions::sinusoidal;
  const Init init =
      Init::normal(sinusoidal ? 1 / std::sqrt(static_cast<double>(blocks.dim)) : kDeviation);
  embedding_.weight = Parameter({vocabulary, blocks.dim}, init);
  if (sinusoidal) waves_ = sinusoidal_positions(context, blocks.dim, DType::f64);
  if (options.positions == Positions::learned)
    positions_ = Parameter({context, blocks.dim}, Init::normal(kDeviation));
  if (options.tied) head_.weight.share(embedding_.weight);
  for (int64_t i = 0; i < blocks.depth; ++i) blocks_.emplace_back(blocks);
}

Tensor TransformerLanguageModel::embed(const Tensor& tokens, int64_t first) {
  Tensor x = embedding_(tokens);
  const int64_t end = first + tokens.size(1);
  if (positions_) return x + slice(positions_, 0, first, end);
  if (!waves_) return x;
  return x * std::sqrt(static_cast<double>(x.size(2))) +
         raw::cast(slice(waves_, 0, first, end), x.dtype());
}

Tensor TransformerLanguageModel::forward(const Tensor& tokens) {
  const ForwardScope scope(*this);
  check_tokens("TransformerLanguageModel", tokens);
  check(tokens.size(1) <= context_,
        "TransformerLanguageModel: {} positions in tokens {}, at most {}", tokens.size(1),
        tokens.shape(), context_);
  Tensor h = embed(tokens, 0);
  for (EncoderBlock& block : blocks_) h = block(h, {.causal = true});
  return head_(norm_(h));
}

Tensor TransformerLanguageModel::generate(const Tensor& prompt, int64_t count,
                                          const SamplingOptions& options, Generator& generator) {
  const ForwardScope scope(*this);
  check_evaluated(*this);
  if (prompt.dtype() == DType::i64)  // all of them, within the context or not
    raw::checked_indices("generate", prompt, embedding_.weight.size(0));
  std::vector<KeyValueCache> caches(blocks_.size());
  int64_t begin = 0, seen = 0;  // of the tokens, those that the caches hold
  const auto next = [&](const Tensor& tokens) {
    const int64_t end = tokens.size(1);
    if (end - begin > context_) {
      begin = seen = end - std::max<int64_t>(1, context_ / 2);
      caches.assign(blocks_.size(), {});
    }
    Tensor h = embed(slice(tokens, 1, seen, end), seen - begin);
    for (size_t i = 0; i < blocks_.size(); ++i) h = blocks_[i].forward(h, caches[i]);
    seen = end;
    return select(head_(norm_(slice(h, 1, -1, h.size(1)))), 1, 0);
  };
  return gradus::generate(next, prompt, count, options, generator);
}

void TransformerLanguageModel::visit(Visitor& visitor) {
  visitor.module("embedding", embedding_);
  visitor.parameter("positions", positions_);
  visitor.modules("blocks", blocks_);
  visitor.module("norm", *norm_);
  visitor.module("head", head_);
}

std::string TransformerLanguageModel::describe() const {
  return fmt::format("TransformerLanguageModel(context {})", context_);
}

LstmLanguageModel::LstmLanguageModel(int64_t vocabulary, LstmLanguageModelOptions options)
    : embedding_(vocabulary, options.hidden),
      dropout_(options.dropout),
      lstm_(options.hidden, options.hidden,
            {.num_layers = options.num_layers, .dropout = options.dropout}),
      head_(options.hidden, vocabulary) {
  if (options.tied) head_.weight.share(embedding_.weight);
}

Tensor LstmLanguageModel::forward(const Tensor& tokens) {
  const ForwardScope scope(*this);
  check_tokens("LstmLanguageModel", tokens);
  return head_(dropout_(lstm_(dropout_(embedding_(tokens))).y));
}

Tensor LstmLanguageModel::generate(const Tensor& prompt, int64_t count,
                                   const SamplingOptions& options, Generator& generator) {
  const ForwardScope scope(*this);
  check_evaluated(*this);
  CellState state;
  int64_t seen = 0;
  const auto next = [&](const Tensor& tokens) {
    const int64_t end = tokens.size(1);
    RnnOutput out = lstm_(embedding_(slice(tokens, 1, seen, end)), {}, state);
    seen = end;
    state = {std::move(out.h), std::move(out.c)};
    return head_(select(out.y, 1, -1));
  };
  return gradus::generate(next, prompt, count, options, generator);
}

void LstmLanguageModel::visit(Visitor& visitor) {
  visitor.module("embedding", embedding_);
  visitor.module("dropout", dropout_);
  visitor.module("lstm", lstm_);
  visitor.module("head", head_);
}

std::string LstmLanguageModel::describe() const { return "LstmLanguageModel"; }

}  // namespace gradus
