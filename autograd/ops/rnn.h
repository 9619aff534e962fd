#pragma once
#include <gradus/autograd/tape.h>
#include <gradus/base/cell_kind.h>

#include <functional>

namespace gradus {

/// The parameters of a recurrent cell, G being gates_of(kind).
struct CellWeights {
  Tensor w_ih;  ///< (G H, D); empty: x is the projected input, D = G H
  Tensor w_hh;  ///< (G H, H)
  Tensor b_ih;  ///< (G H), or empty
  Tensor b_hh;  ///< (G H), or empty
};

/// The state of a cell, each (N, H); c of lstm alone. An empty one stands for zeros.
struct CellState {
  /// h alone but for lstm.
  CellState(Tensor h_ = {}, Tensor c_ = {}) : h(std::move(h_)), c(std::move(c_)) {}
  Tensor h, c;  ///< (N, H)
};

/// The next state from a = x w_ih^T + b_ih and u = h w_hh^T + b_hh, (N, G H) each, in plain ops
/// (CellKind has the formulas); lstm's with h' = o tanh(norm_c(c')), if there is such a norm. An
/// Error names shapes that do not fit.
CellState cell_step(CellKind kind, const Tensor& a, const Tensor& u, const CellState& state,
                    const std::function<Tensor(const Tensor& c)>& norm_c = {});

/// The state after each step, 0 where not valid, and after the last valid step.
struct RecurrenceResult {
  Tensor y;         ///< (N, T, H); empty for a single step
  CellState state;  ///< the last
};

/// A cell (CellKind has the formulas) over the steps of N sequences, as one operation: the
/// gates of a step in one pass, the gradient of a weight over all steps in one product
/// (docs/derivations/lstm_gru.md). x: (N, T, D), or (N, D) for a single step   valid: (N, T) bool,
/// where it is false a state stays as it is, and what x and the state hold, be it NaN, has no
/// influence on the gradients of the weights.
RecurrenceResult recurrence(CellKind kind, const Tensor& x, const CellState& state,
                            const CellWeights& weights, const Tensor& valid = {});

}  // namespace gradus
