#pragma once
#include <gradus/layers/rnn_cell.h>

#include <vector>

namespace gradus {

/// What a Recurrent has beside its sizes.
template <class Cell>
struct RecurrentOptions {
  typename Cell::Options cell = {};  ///< the cells' own
  /// Of the projected inputs (N, T, G H) of all steps, h' = f(norm(x W^T) + ...), a BatchNorm then
  /// having statistics over all valid (N, T) (Laurent et al. 2016).
  MakeNorm norm = {};
  /// If above 0: a norm of its own for each of the first so many steps, the last of them for all
  /// later ones (Cooijmans et al. 2016, section 3). A BatchNorm's statistics are over the sequences
  /// that have not ended; where one is left, its running statistics serve and stay as they are.
  int64_t norm_steps = 0;
  int64_t num_layers = 1;      ///< each takes the y of the one before
  bool bidirectional = false;  ///< each layer also from the last valid step to the first
  double dropout = 0;          ///< of each layer's y but the last's, in training
};

/// What a Recurrent gives. P: layers, times 2 if bidirectional.
struct RnnOutput {
  /// (N, T, H), or (N, T, 2 H) with the backward states behind the forward ones: the last layer's
  /// state after each step, 0 where padded.
  Tensor y;
  /// (N, H), or (P, N, H) if P > 1, PyTorch's order: layer by layer, forward before backward; the
  /// state after each sequence's last valid step, backward after its first.
  Tensor h;
  Tensor c;  ///< like h, of an Lstm
};

/// Runs a cell over sequences, a layer's steps as one operation: PyTorch's RNN, LSTM and GRU, batch
/// first, with its names: weight_ih_l0, weight_hh_l0_reverse, ... What stands in padded positions,
/// NaN included, has no influence. Norms, which PyTorch has not, are called norm_projected_l0; the
/// cell's own as in the cell, e.g. norm_hh_l0.
/// x: (N, T, D)   lengths: (N) i64, or none: all have T steps   state: like RnnOutput's, or zeros
template <class Cell>
class Recurrent : public Module {
 public:
  /// D inputs, H hidden units.
  Recurrent(int64_t input_size, int64_t hidden_size, RecurrentOptions<Cell> options = {});
  /// Errors name shapes that do not fit, and lengths below 0 or above T.
  RnnOutput forward(const Tensor& x, const Tensor& lengths = {}, const CellState& state = {});
  RnnOutput operator()(const Tensor& x, const Tensor& lengths = {}, const CellState& state = {}) {
    return forward(x, lengths, state);
  }
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  /// One layer in one direction.
  struct Pass {
    Cell cell;                   ///< with the parameters
    std::vector<AnyNorm> norms;  ///< none, one for all steps, or one a step
  };
  std::vector<Pass> passes;  ///< layer by layer, forward before backward

 private:
  RecurrenceResult run(size_t pass, const Tensor& x, const CellState& state, const Tensor& valid);

  int64_t directions_;
  double dropout_;
};

/// A Recurrent of each cell.
using Rnn = Recurrent<RnnCell>;
using Lstm = Recurrent<LstmCell>;
using Gru = Recurrent<GruCell>;

}  // namespace gradus
