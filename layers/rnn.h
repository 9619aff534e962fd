#pragma once
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>

#include <optional>
#include <vector>

namespace gradus {

enum class Nonlinearity { tanh, relu };

struct RnnCellOptions {
  Nonlinearity nonlinearity = Nonlinearity::tanh;
  bool bias = true;
  bool layer_norm = false;  ///< h' = f(LN(a))  (Ba et al. 2016, equation 4)
};

/// One step of an Elman network (docs/derivations/rnn_cell.md):
///
/// a = x weight_ih^T + bias_ih + h weight_hh^T + bias_hh;  h' = f(a)
///
/// x: (N, D)   h, h': (N, H)
class RnnCell : public Module {
 public:
  RnnCell(int64_t input_size, int64_t hidden_size, RnnCellOptions options = {});
  Tensor forward(const Tensor& x, const Tensor& h);
  Tensor operator()(const Tensor& x, const Tensor& h) { return forward(x, h); }
  /// The part that does not wait for h, for all steps at once: x weight_ih^T + bias_ih.
  Tensor project(const Tensor& x);
  /// The rest of the step, from the projected input.
  Tensor advance(const Tensor& projected, const Tensor& h);

  void visit(Visitor& visitor) override;
  std::string describe() const override;
  int64_t input_size() const { return weight_ih.size(1); }
  int64_t hidden_size() const { return weight_hh.size(1); }

  Parameter weight_ih, weight_hh, bias_ih, bias_hh;
  std::optional<LayerNorm> norm;

 private:
  Nonlinearity nonlinearity_;
};

struct RnnOptions {
  RnnCellOptions cell = {};
  /// Batch Normalization of the projected inputs, h' = f(BN(x W^T) + ...), with statistics over all
  /// valid (N, T) (Laurent et al. 2016, section 3).
  bool batch_norm = false;
  /// If above 0: statistics of their own for each of the first so many steps, the last of them for
  /// all later ones (Cooijmans et al. 2016, section 3).
  int64_t batch_norm_steps = 0;
};

struct RnnOutput {
  Tensor y;  ///< (N, T, H): the state after each step, 0 where padded
  Tensor h;  ///< (N, H): the state after each sequence's last valid step
};

/// Runs an RnnCell over sequences.  x: (N, T, D)   lengths: (N) i64, or none: all have T steps.
/// What stands in padded positions, NaN included, has no influence.
class Rnn : public Module {
 public:
  Rnn(int64_t input_size, int64_t hidden_size, RnnOptions options = {});
  RnnOutput forward(const Tensor& x, const Tensor& lengths = {}, const Tensor& h0 = {});
  RnnOutput operator()(const Tensor& x, const Tensor& lengths = {}, const Tensor& h0 = {}) {
    return forward(x, lengths, h0);
  }
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  RnnCell cell;
  std::vector<BatchNorm> norms;  ///< none, one for all steps, or one a step

 private:
  Tensor normalized_projection(const Tensor& x, const Tensor& valid);
};

}  // namespace gradus
