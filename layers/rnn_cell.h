#pragma once
#include <gradus/autograd/ops/rnn.h>
#include <gradus/layers/norm.h>

#include <functional>
#include <optional>

namespace gradus {

/// What all recurrent cells are: parameters for the input (ih) and for the state (hh), PyTorch's
/// names and order of gates, and a recurrence over them. G gates, D inputs, H hidden units.
class RecurrentCell : public Module {
 public:
  /// The part of all steps that does not wait for a state: x weight_ih^T + bias_ih.
  /// x: (..., D)   y: (..., G H)
  Tensor project(const Tensor& x) const;
  /// All steps of sequences x (N, T, D), or (N, T, G H) if they are projected already; (N, ...) for
  /// a single step. valid: (N, T), where it is false a state stays as it is.
  virtual RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                               const Tensor& valid);

  /// Throws an Error that begins with `what` unless x (N, ..., D) and a first state fit.
  void check_inputs(const char* what, const Tensor& x, const CellState& state) const;

  void visit(Visitor& visitor) override;
  /// D, H
  int64_t input_size() const { return weight_ih.shape()[1]; }
  int64_t hidden_size() const { return weight_hh.shape()[1]; }

  Parameter weight_ih, weight_hh, bias_ih, bias_hh;  ///< (G H, D), (G H, H), (G H), (G H)

 protected:
  /// `kind` says how many gates G there are.
  RecurrentCell(CellKind kind, int64_t input_size, int64_t hidden_size, bool bias);
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
  /// h'. Errors name shapes that do not fit.
  Tensor forward(const Tensor& x, const Tensor& h = {}) { return step("RnnCell", x, h).h; }
  Tensor operator()(const Tensor& x, const Tensor& h = {}) { return forward(x, h); }

  RecurrenceResult run(const Tensor& x, bool projected, const CellState& state,
                       const Tensor& valid) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  std::optional<AnyNorm> norm;  ///< of a, if it has one
};

/// What an LstmCell or GruCell has beside its sizes.
struct GatedCellOptions {
  bool bias = true;  ///< whether it has the two
};

/// One step of an LSTM (Hochreiter & Schmidhuber 1997, with Gers' forget gate):  i, f, g, o =
/// sigmoid, sigmoid, tanh, sigmoid of x weight_ih^T + bias_ih + h weight_hh^T + bias_hh, in this
/// order;  c' = f c + i g;  h' = o tanh(c').  x: (N, D)   h, c, h', c': (N, H); none: zeros
class LstmCell : public RecurrentCell {
 public:
  using Options = GatedCellOptions;                     ///< for Recurrent
  static constexpr const char* kSequenceName = "Lstm";  ///< what its Recurrent is called
  /// D inputs, H hidden units.
  LstmCell(int64_t input_size, int64_t hidden_size, GatedCellOptions options = {});
  /// h' and c'. Errors name shapes that do not fit.
  CellState forward(const Tensor& x, const CellState& state = {}) {
    return step("LstmCell", x, state);
  }
  CellState operator()(const Tensor& x, const CellState& state = {}) { return forward(x, state); }
  std::string describe() const override;
};

/// One step of a GRU (Cho et al. 2014, in PyTorch's form) from a = x weight_ih^T + bias_ih, u = h
/// weight_hh^T + bias_hh, in the order r, z, n:  r, z = sigmoid(a + u);  n = tanh(a + r u);
/// h' = (1 - z) n + z h.  x: (N, D)   h, h': (N, H); no h stands for zeros
class GruCell : public RecurrentCell {
 public:
  using Options = GatedCellOptions;                    ///< for Recurrent
  static constexpr const char* kSequenceName = "Gru";  ///< what its Recurrent is called
  /// D inputs, H hidden units.
  GruCell(int64_t input_size, int64_t hidden_size, GatedCellOptions options = {});
  /// h'. Errors name shapes that do not fit.
  Tensor forward(const Tensor& x, const Tensor& h = {}) { return step("GruCell", x, h).h; }
  Tensor operator()(const Tensor& x, const Tensor& h = {}) { return forward(x, h); }
  std::string describe() const override;
};

}  // namespace gradus
