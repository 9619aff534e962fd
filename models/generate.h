#pragma once
#include <gradus/autograd/ops/sampling.h>

#include <functional>

namespace gradus {

/// The logits (N, V) of the token behind tokens (N, T) i64.
using NextLogits = std::function<Tensor(const Tensor& tokens)>;

/// Goes on from a prompt, each token chosen by `next` of all tokens before it and sample_logits.
/// Nothing is recorded. With a model that takes all tokens each time, for example:
///
///   generate([&](const Tensor& tokens) { return select(model(tokens), 1, -1); }, prompt, 100)
///
/// prompt: (N, T) i64, T above 0   y: (N, T + count), which begins with the prompt
Tensor generate(const NextLogits& next, const Tensor& prompt, int64_t count,
                const SamplingOptions& options = {}, Generator& generator = default_generator());

}  // namespace gradus
