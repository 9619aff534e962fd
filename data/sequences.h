#pragma once
#include <gradus/tensor/tensor.h>

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

}  // namespace gradus
