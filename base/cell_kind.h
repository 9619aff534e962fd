#pragma once
#include <cstdint>

namespace gradus {

/// h' from a = W_ih x + b_ih and u = W_hh h + b_hh, with s the logistic function and f tanh:
///   tanh, relu:  h' = f(a + u)                                              (Elman 1990)
///   lstm:  i, f, g, o = s, s, tanh, s of a + u;  c' = f c + i g;  h' = o tanh(c')
///                                                    (Hochreiter & Schmidhuber 1997; Gers 1999)
///   gru:   r, z = s(a + u);  n = tanh(a_n + r u_n);  h' = (1 - z) n + z h     (Cho et al. 2014)
/// PyTorch's order of the gates is the rows' order of weights and biases.
enum class CellKind { tanh, relu, lstm, gru };

/// How many rows of the weights belong to one unit of the state.
constexpr int64_t gates_of(CellKind kind) {
  return kind == CellKind::lstm ? 4 : kind == CellKind::gru ? 3 : 1;
}

}  // namespace gradus
