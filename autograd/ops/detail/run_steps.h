#pragma once
#include <gradus/autograd/ops/rnn.h>

namespace gradus::detail {

/// The state after step t from x (N, ...), the state before it, and valid (N), or none.
using NextState = std::function<CellState(size_t t, const Tensor& x, const CellState& state,
                                          const Tensor& valid)>;

/// A recurrence one step after the other, in plain ops. x: (N, T, ...), or (N, ...) for a single
/// step valid: (N, T), or none; where it is false a state stays as it is, and `next` sees 0 in its
/// place.
RecurrenceResult run_steps(CellKind kind, int64_t hidden, const Tensor& x, CellState state,
                           const Tensor& valid, const NextState& next);

}  // namespace gradus::detail
