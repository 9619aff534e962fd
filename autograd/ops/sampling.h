#pragma once
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>

namespace gradus {

// Draws are constants to every tape. Each row takes one Generator::uniform(), in row-major order; a
// row of logits with NaN or +inf, or with -inf alone, is an error that names it.

/// An index a row of the last axis (i64), each drawn with probability softmax(logits): the first
/// where the probabilities up to it are more than the uniform.   logits: (..., C)   y: (...)
Tensor categorical(const Tensor& logits, Generator& generator = default_generator());
/// true with the probability p that stands there, elements in row-major order: drawn as
/// bernoulli(shape, p) does. p outside of [0, 1] is an error.   y: bool, p's shape
Tensor bernoulli(const Tensor& p, Generator& generator = default_generator());

/// logits where they are among the k largest of their row of the last axis, of equal ones the
/// first, else -inf, without gradient there (Fan et al. 2018, section 5.4).   k: 1 or more
Tensor keep_top_k(const Tensor& logits, int64_t k);
/// logits where they are among the fewest largest of their row of the last axis whose
/// probabilities softmax(logits) add up to p or more, else -inf, without gradient there (Holtzman
/// et al. 2020, section 3.1). The largest always stays; with p = 1 all do.   p: [0, 1]
Tensor keep_top_p(const Tensor& logits, double p);

/// How a token is chosen.
struct SamplingOptions {
  double temperature = 1;  ///< what logits are divided by; at 0 the largest is taken, nothing drawn
  int64_t top_k = 0;       ///< if above 0: of the so many largest
  double top_p = 1;        ///< if below 1: of those that stay in keep_top_p
};
/// categorical() of keep_top_p(keep_top_k(logits / temperature)), or the first of the largest.
/// logits: (..., C)   y: (...) i64
Tensor sample_logits(const Tensor& logits, const SamplingOptions& options = {},
                     Generator& generator = default_generator());

}  // namespace gradus
