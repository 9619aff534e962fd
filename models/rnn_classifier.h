#pragma once
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn.h>
#include <gradus/models/norm.h>

namespace gradus {

/// What an RnnClassifier is made of.
struct RnnClassifierOptions {
  int64_t hidden = 64;                             ///< units of the state
  NormChoice norm = Norm::none;                    ///< at `place`
  Nonlinearity nonlinearity = Nonlinearity::tanh;  ///< of the cell
  int64_t norm_steps = 0;  ///< if above 0, so many norms: see RecurrentOptions and RnnCellOptions
  std::optional<RecurrentPlace> place = {};  ///< of the norm; none: its kind's recurrent_place()
};

/// An Elman network over a sequence, its norm at a RecurrentPlace, and a Linear on its
/// last state.  x: (N, T, D)   y: (N, classes)
class RnnClassifier : public UnaryModule {
 public:
  /// For so many features a step.
  RnnClassifier(int64_t features, int64_t classes, RnnClassifierOptions options = {});
  /// Of images (N, C, H, W) too: their rows are the steps, (N, H, C W).
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  /// lengths: (N) i64, or none: all have T steps
  Tensor forward(const Tensor& x, const Tensor& lengths);
  void visit(Visitor& visitor) override;
  std::string describe() const override;

 private:
  Rnn rnn_;
  Linear head_;
};

}  // namespace gradus
