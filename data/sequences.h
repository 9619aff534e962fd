#pragma once
#include <gradus/data/dataset.h>

#include <vector>

namespace gradus {

/// What pad_sequence() gives.
struct PaddedSequences {
  Tensor values;   ///< (N, T, ...), T being the longest one's length
  Tensor lengths;  ///< (N) i64
};

/// Sequences of different lengths in one tensor, with `padding_value` behind each one's end (as
/// torch.nn.utils.rnn.pad_sequence with batch_first). Recorded by no tape.
/// sequences: N of (T_n, ...), one dtype
PaddedSequences pad_sequence(const std::vector<Tensor>& sequences, double padding_value = 0);

/// Windows of a long text, `step` tokens from one to the next (0: `length`), and with each its next
/// tokens, which a language model should answer: y[n, t] = x[n, t + 1]. Whole windows alone.
/// ids: (L) i64   x, y: (N, length), N = (L - 1 - length) / step + 1
Dataset next_token_windows(const Tensor& ids, int64_t length, int64_t step = 0);

}  // namespace gradus
