#pragma once
#include <gradus/tensor/tensor_file.h>

#include <functional>
#include <optional>
#include <vector>

namespace gradus {

class Checkpoint;

/// How Lbfgs chooses the length of a step along its direction.
enum class LineSearch {
  none,         ///< lr itself, but for the very first step
  strong_wolfe  ///< one at which the strong Wolfe conditions hold (c1 = 1e-4, c2 = 0.9)
};

/// Lbfgs's numbers, by PyTorch's names.
struct LbfgsOptions {
  double lr = 1;                         ///< the step's length, or the first that is tried
  int64_t max_iter = 20;                 ///< most iterations of a step()
  std::optional<int64_t> max_eval = {};  ///< most evaluations of a step(); none: 5/4 max_iter
  double tolerance_grad = 1e-7;          ///< ends where no |dp| is larger
  double tolerance_change = 1e-9;        ///< ends where loss or parameters change less
  int64_t history_size = 100;            ///< how many pairs of changes it remembers
  LineSearch line_search_fn = LineSearch::none;  ///< how it chooses a step's length
};

/// L-BFGS (Nocedal & Wright 2006, algorithm 7.4, 7.5; strong Wolfe line search by cubic
/// interpolation, as minFunc and PyTorch have it), for a loss that is the same function at each
/// evaluation: the whole data, no dropout.
///
///     Lbfgs optimizer(model.parameters(), {.line_search_fn = LineSearch::strong_wolfe});
///     optimizer.step([&] {
///       Tape tape;
///       const Tensor loss = mse_loss(model(x), y);
///       optimizer.zero_grad();
///       tape.backward(loss);
///       return loss;
///     });
///
/// All vectors are kept in f64, one after the other: 2 history_size as long as the parameters.
class Lbfgs {
 public:
  /// Errors: no parameters, one that needs no gradient or is here already, itself or as another
  /// tensor's memory; a rate or tolerance that is negative or NaN, a count below 1.
  explicit Lbfgs(std::vector<Tensor> parameters, LbfgsOptions options = {});

  /// Up to max_iter iterations; returns the loss before them. `closure` computes the loss, one
  /// number, and its gradients; a parameter without one counts as having 0. Trial points at which
  /// the loss is NaN are too far for the line search, as those where it is infinite. Errors: a loss
  /// or gradient at the start that is not finite, or, without a line search, later. A step that
  /// fails, in the closure, too, changes no parameter and no state; gradients are those of the last
  /// evaluation.
  double step(const std::function<Tensor()>& closure);
  /// No parameter has a gradient from here on, until one arrives.
  void zero_grad();

  /// All that the steps to come depend on beside parameters and options: "Lbfgs.n_iter",
  /// "Lbfgs.func_evals", and once there was a step "Lbfgs.t", "Lbfgs.H_diag", "Lbfgs.d",
  /// "Lbfgs.prev_flat_grad", "Lbfgs.old_dirs" and "Lbfgs.old_stps" (pairs, elements), all f64 but
  /// for the counts.
  NamedTensors state() const;
  /// Goes on where the one that gave this state was. Errors: another method's state, values that
  /// are missing or do not fit; then nothing changes.
  void load_state(const NamedTensors& values);

 private:
  friend class Checkpoint;
  using Vector = std::vector<double>;
  /// A change of the gradient and the one of the parameters that made it.
  struct Pair {
    Vector y, s;
    double rho;  ///< 1 / y's
  };
  struct Memory {
    int64_t n_iter = 0, func_evals = 0;
    double t = 0, scale = 1;  ///< scale: of the first approximation of the inverse Hessian
    Vector direction, gradient;
    std::vector<Pair> pairs;
  };
  struct Point;
  void update_direction(Memory& memory, const Vector& gradient) const;
  Vector gradient() const;
  Vector values() const;
  void move(const Vector& from, double t, const Vector& direction);
  Point evaluate(const std::function<Tensor()>& closure, Memory& memory) const;
  double minimize(const std::function<Tensor()>& closure, Memory& memory);
  /// load_state() up to where nothing fails any more: what is returned does the rest.
  std::function<void()> prepare_load(const NamedTensors& values);

  std::vector<Tensor> parameters_;
  LbfgsOptions options_;
  Memory memory_;
};

}  // namespace gradus
