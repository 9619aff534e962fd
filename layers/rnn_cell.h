#pragma once
#include <gradus/autograd/ops/rnn.h>
#include <gradus/layers/norm.h>

#include <functional>
#include <optional>
#include <vector>

namespace gradus {

/// What all recurrent cells are: parameters for the input (ih) and for the state (hh), PyTorch's
/// names and order of gates, and a recurrence over them. G gates, D inputs, H hidden units.
class RecurrentCell : public Module {
 public:
  /// The part of all steps that does not wait for a state: x weight_ih^T + bias_ih.
  /// x: (..., D)   y: (..., G H)
  Tensor project(const Tensor& x) const;
  /// All steps of sequences x (N, T, D), or (N, T, G H) if they are projected already; (N, ...) for
  /// a single step. valid: (N, T), where it is false a state stays as it is and x, be it NaN, has
  /// no influence.
  virtual RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                               const Tensor& valid);

  /// Throws an Error that begins with `what` unless x (N, ..., D) and a first state fit.
  void check_inputs(const char* what, const Tensor& x, const CellState& state,
                    bool projected = false) const;

  void visit(Visitor& visitor) override;
  /// D, H
  int64_t input_size() const { return weight_ih.shape()[1]; }
  int64_t hidden_size() const { return weight_hh.shape()[1]; }

  Parameter weight_ih, weight_hh, bias_ih, bias_hh;  ///< (G H, D), (G H, H), (G H), (G H)

 protected:
  /// `kind` says how many gates G there are.
  RecurrentCell(CellKind kind, int64_t input_size, int64_t hidden_size, bool bias);
  /// What run() begins with where it goes step by step: throws unless all fits; x with 0 where it
  /// is not valid.
  Tensor checked_input(const char* what, const Tensor& x, bool projected, const CellState& state,
                       const Tensor& valid) const;
  /// One step, of x (N, D).
  CellState step(const char* what, const Tensor& x, const CellState& state);

  CellKind kind_;  ///< which formulas
};

/// A norm over so many features, those of the last axis, e.g. [](int64_t n) { return LayerNorm(n);
/// }.
using MakeNorm = std::function<AnyNorm(int64_t features)>;

/// f in an RnnCell.
enum class Nonlinearity { tanh, relu };

/// What an RnnCell has beside its sizes.
struct RnnCellOptions {
  Nonlinearity nonlinearity = Nonlinearity::tanh;  ///< f
  bool bias = true;                                ///< whether it has the two
  /// h' = f(norm(a)) (Ba et al. 2016, equation 4); the norm is told which sequences have ended
  MakeNorm norm = {};
  /// If above 0: a norm of its own for each of the first so many steps, the last of them for all
  /// later ones (Cooijmans et al. 2016, section 3).
  int64_t norm_steps = 0;
};

/// One step of an Elman network (docs/derivations/rnn_cell.md):
///
/// a = x weight_ih^T + bias_ih + h weight_hh^T + bias_hh;  h' = f(a)
///
/// x: (N, D)   h, h': (N, H); no h stands for zeros
class RnnCell : public RecurrentCell {
 public:
  using Options = RnnCellOptions;                      ///< for Recurrent
  static constexpr const char* kSequenceName = "Rnn";  ///< what its Recurrent is called
  /// D inputs, H hidden units.
  RnnCell(int64_t input_size, int64_t hidden_size, const RnnCellOptions& options = {});
  /// h'. Errors name shapes that do not fit. A cell with a norm for each step is for an Rnn.
  Tensor forward(const Tensor& x, const Tensor& h = {}) { return step("RnnCell", x, h).h; }
  Tensor operator()(const Tensor& x, const Tensor& h = {}) { return forward(x, h); }

  RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                       const Tensor& valid) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  std::vector<AnyNorm> norms;  ///< of a: none, one for all steps, or one a step
};

/// What an LstmCell or GruCell has beside its sizes.
struct GatedCellOptions {
  bool bias = true;  ///< whether it has the two
  /// Of the products without bias, and of an LSTM's c (Ba et al. 2016, appendix); each is
  /// told which sequences have ended. Those of x are normalized at all steps together.
  MakeNorm norm = {};
};

/// One step of an LSTM (Hochreiter & Schmidhuber 1997, with Gers' forget gate):  i, f, g, o =
/// sigmoid, sigmoid, tanh, sigmoid of x weight_ih^T + bias_ih + h weight_hh^T + bias_hh, in this
/// order;  c' = f c + i g;  h' = o tanh(c').  x: (N, D)   h, c, h', c': (N, H); none: zeros
///
/// With norms: gates of norm_ih(x weight_ih^T) + norm_hh(h weight_hh^T) + bias_ih + bias_hh;
/// h' = o tanh(norm_c(c')).
class LstmCell : public RecurrentCell {
 public:
  using Options = GatedCellOptions;                     ///< for Recurrent
  static constexpr const char* kSequenceName = "Lstm";  ///< what its Recurrent is called
  /// D inputs, H hidden units.
  LstmCell(int64_t input_size, int64_t hidden_size, const GatedCellOptions& options = {});
  /// h' and c'. Errors name shapes that do not fit.
  CellState forward(const Tensor& x, const CellState& state = {}) {
    return step("LstmCell", x, state);
  }
  CellState operator()(const Tensor& x, const CellState& state = {}) { return forward(x, state); }
  RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                       const Tensor& valid) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  std::optional<AnyNorm> norm_ih, norm_hh, norm_c;  ///< over 4 H, 4 H, H features, if it has norms
};

/// One step of a GRU (Cho et al. 2014, in PyTorch's form) from a = x weight_ih^T + bias_ih, u = h
/// weight_hh^T + bias_hh, in the order r, z, n:  r, z = sigmoid(a + u);  n = tanh(a + r u);
/// h' = (1 - z) n + z h.  x: (N, D)   h, h': (N, H); no h stands for zeros
///
/// With norms: a = (norm_ih, norm_in)(x weight_ih^T) + bias_ih, u = (norm_hh, norm_hn)(h
/// weight_hh^T) + bias_hh, the first of each over the 2 H features of r and z, the second over n's.
class GruCell : public RecurrentCell {
 public:
  using Options = GatedCellOptions;                    ///< for Recurrent
  static constexpr const char* kSequenceName = "Gru";  ///< what its Recurrent is called
  /// D inputs, H hidden units.
  GruCell(int64_t input_size, int64_t hidden_size, const GatedCellOptions& options = {});
  /// h'. Errors name shapes that do not fit.
  Tensor forward(const Tensor& x, const Tensor& h = {}) { return step("GruCell", x, h).h; }
  Tensor operator()(const Tensor& x, const Tensor& h = {}) { return forward(x, h); }
  RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                       const Tensor& valid) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  /// Over 2 H, 2 H, H, H features, if it has norms.
  std::optional<AnyNorm> norm_ih, norm_hh, norm_in, norm_hn;
};

}  // namespace gradus
