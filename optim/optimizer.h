#pragma once
#include <gradus/tensor/tensor_file.h>

#include <string>
#include <utility>
#include <vector>

namespace gradus {

/// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
  std::vector<Tensor> parameters;  ///< leaves
  double lr;                       ///< the learning rate
  double weight_decay = 0;         ///< what it means is the method's
};

/// Changes parameters by their gradients; a parameter without a gradient is left alone. A method
/// names its moments, what it remembers for each parameter, and says how one parameter is updated.
/// Nothing is recorded on a tape, not even if an update is written in ops.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update of every parameter that has a gradient.
  void step();
  /// No parameter has a gradient from here on, until one arrives.
  void zero_grad();

  /// Errors: a learning rate or weight decay that is negative or NaN, a parameter that needs no
  /// gradient or is here already.
  void add_group(const ParameterGroup& group);
  /// How many groups; they count from 0.
  size_t group_count() const { return groups_.size(); }
  /// A group's learning rate, without the factor.
  double lr(size_t group = 0) const;
  void set_lr(double lr, size_t group = 0);
  /// Multiplies every group's learning rate for the steps to come; what a Schedule gives.
  void set_lr_factor(double factor);

  /// Step counts and moments as "<group>.<index>.<name>", to go on later exactly where this one is.
  NamedTensors state() const;
  /// Copies such a state of an equal optimizer in; if it does not fit nothing changes.
  void load_state(const NamedTensors& values);

  /// What one update needs to know of its parameter.
  struct Update {
    double lr, weight_decay;       ///< its group's, the first with the factor
    int64_t step;                  ///< 1 for the first
    Tensor& parameter;             ///< to be changed in place
    const Tensor& gradient;        ///< contiguous
    std::vector<Tensor>& moments;  ///< in the order of their names, zeros at first
  };

 protected:
  /// In `moments` "" stands for one that the options leave out: its Tensor is empty.
  explicit Optimizer(std::vector<std::string> moments) : moment_names_(std::move(moments)) {}

  /// Changes one parameter and its moments by its gradient.
  virtual void update(const Update& u) = 0;

  /// An error naming `optimizer` unless the value is finite and not negative.
  static void check_rate(const char* optimizer, const char* what, double value);

 private:
  struct Slot {
    Tensor parameter;
    std::vector<Tensor> moments;  ///< as many as names, once there was a step
    int64_t steps = 0;
  };
  struct Group {
    std::vector<Slot> slots;
    double lr, weight_decay;
  };
  void check_group(size_t group) const;

  std::vector<std::string> moment_names_;
  std::vector<Group> groups_;
  double lr_factor_ = 1;
};

/// Scales all gradients by max_norm / norm if the norm of all of them together exceeds max_norm
/// (Pascanu et al. 2013); returns the norm before. PyTorch divides by norm + 1e-6.
double clip_grad_norm(std::span<const Tensor> parameters, double max_norm);

}  // namespace gradus
