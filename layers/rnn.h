#pragma once
#include <gradus/layers/rnn_cell.h>

#include <vector>

namespace gradus {

/// What a Recurrent has beside its sizes.
template <class Cell>
struct RecurrentOptions {
  typename Cell::Options cell = {};  ///< the cell's own
  /// Of the projected inputs (N, T, G H) of all steps, h' = f(norm(x W^T) + ...), a BatchNorm then
  /// having statistics over all valid (N, T) (Laurent et al. 2016).
  MakeNorm norm = {};
  /// If above 0: a norm of its own for each of the first so many steps, the last of them for all
  /// later ones (Cooijmans et al. 2016, section 3). A BatchNorm's statistics are over the sequences
  /// that have not ended; where one is left, its running statistics serve and stay as they are.
  int64_t norm_steps = 0;
};

/// What a Recurrent gives.
struct RnnOutput {
  Tensor y;  ///< (N, T, H): the state after each step, 0 where padded
  Tensor h;  ///< (N, H): the state after each sequence's last valid step
  Tensor c;  ///< (N, H), of an Lstm
};

/// Runs a cell over sequences, all steps as one operation: PyTorch's RNN, LSTM and GRU of one
/// layer, batch first, whose weight_ih_l0 is cell.weight_ih here. What stands in padded positions,
/// NaN included, has no influence.
/// x: (N, T, D)   lengths: (N) i64, or none: all have T steps   state: (N, H) each, or zeros
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

  Cell cell;                   ///< with the parameters
  std::vector<AnyNorm> norms;  ///< none, one for all steps, or one a step

 private:
  Tensor normalized_projection(const Tensor& x, const Tensor& valid);
};

/// A Recurrent of each cell.
using Rnn = Recurrent<RnnCell>;
using Lstm = Recurrent<LstmCell>;
using Gru = Recurrent<GruCell>;

}  // namespace gradus
