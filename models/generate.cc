#include <gradus/autograd/ops/shape.h>
#include <gradus/models/generate.h>

namespace gradus {

Tensor generate(const NextLogits& next, const Tensor& prompt, int64_t count,
                const SamplingOptions& options, Generator& generator) {
  check(prompt.ndim() == 2 && prompt.dtype() == DType::i64 && prompt.size(1) > 0,
        "generate: the prompt is {} {}, must be i64 (N, T) with a token to begin with",
        name(prompt.dtype()), prompt.shape());
  constexpr int64_t kMostTokens = int64_t{1} << 40;
  const int64_t n = prompt.size(0), begin = prompt.size(1);
  check(count >= 0 && count <= kMostTokens, "generate: {} tokens behind the prompt {}", count,
        prompt.shape());
  const NoRecord pause;
  Tensor tokens = empty({n, begin + count}, DType::i64);
  Tensor given = slice(tokens, 1, 0, begin);
  raw::copy(prompt, given);
  for (int64_t length = begin; length < begin + count; ++length) {
    const Tensor logits = next(slice(tokens, 1, 0, length));
    check(logits && logits.ndim() == 2 && logits.shape()[0] == n,
          "generate: the logits behind tokens {} are {}, must be (N, V)", Shape{n, length},
          logits ? logits.shape() : Shape());
    const Tensor chosen = sample_logits(logits, options, generator);
    Tensor place = select(tokens, 1, length);
    raw::copy(chosen, place);
  }
  return tokens;
}

}  // namespace gradus
