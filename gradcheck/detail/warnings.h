#pragma once
#include <gradus/autograd/tape.h>

namespace gradus::checking {

/// What would let a wrong gradient pass: f32 inputs, square shapes, all-ones weights, two values a
/// channel in a Batch Normalization, a plain sum behind a norm. For the tape of the function.
std::vector<std::string> setup_warnings(std::span<const Tensor> inputs, const Tape& tape);

}  // namespace gradus::checking
