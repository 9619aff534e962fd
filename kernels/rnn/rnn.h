#pragma once
#include <gradus/base/cell_kind.h>

#include <cstdint>

namespace gradus::kernels {

/// How many values are kept for it: of lstm i, f, g, o; of gru r, z, n, u_n; else h' itself.
constexpr int64_t kept_gates_of(CellKind kind) { return gates_of(kind) == 1 ? 1 : 4; }

/// A cell over the steps of several sequences, with G = gates_of(kind), K = kept_gates_of(kind).
template <class T>
struct Recurrence {
  CellKind kind;
  int64_t steps, batch, inputs, hidden;
  const T* x;  ///< step t of sequence n: `inputs` values from x + t x_step + n x_row
  int64_t x_step, x_row;
  const T* w_ih;  ///< (G H, inputs); null: x is W_ih x itself
  const T* w_hh;  ///< (G H, H)
  const T* b_ih;  ///< (G H); null: none
  const T* b_hh;
  const bool* valid;  ///< (N, T): where it is false a state stays as it is and x, be it NaN, has no
                      ///< influence; null: all are
  bool from_zero = false;  ///< the first h is 0, as the caller knows
};

/// What the steps leave, step-major.
template <class T>
struct RecurrentStates {
  T* h;                ///< (T + 1, N, H), the first given
  T* c;                ///< likewise, of lstm
  T* gates;            ///< (T, N, K H), of lstm and gru
  int64_t gates_step;  ///< N K H; 0: every step may overwrite the last one's
};

/// Fills h, c and gates; y (T, N, H), unless null, is h' and 0 where not valid.
template <class T>
void recurrence(const Recurrence<T>& r, const RecurrentStates<T>& states, T* y);

/// What comes back into the steps: dy[t, n] at dy + t step + n row; null: 0.
template <class T>
struct StepGradients {
  const T* dy;
  int64_t step, row;
};

/// dgates (T, N, K H): of the sums of products, 0 where not valid; of gru r, z, n, then u_n.
/// dh, dc (N, H): in, of the last state; out, of the first (dh only if `to_first`).
template <class T>
void recurrence_backward(const Recurrence<T>& r, const RecurrentStates<const T>& states,
                         const StepGradients<T>& dy, bool to_first, T* dh, T* dc, T* dgates);

/// Where a gradient is put, or added; null: not wanted.
template <class T>
struct GradientSum {
  T* sum = nullptr;
  bool add = false;
};

template <class T>
struct WeightGradients {
  GradientSum<T> w_ih, w_hh, b_ih, b_hh;
};

/// From dgates, all steps in one product. h: the states.
template <class T>
void recurrence_weight_gradients(const Recurrence<T>& r, const T* h, const T* dgates,
                                 const WeightGradients<T>& d);

/// dx (T, N, inputs) = W_ih^T dgates
template <class T>
void recurrence_input_gradient(const Recurrence<T>& r, const T* dgates, T* dx);

}  // namespace gradus::kernels
