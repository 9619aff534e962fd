#pragma once
#include <gradus/tensor/tensor_file.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace gradus {

class Checkpoint;

/// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
  std::vector<Tensor> parameters;           ///< leaves
  std::optional<double> lr = {};            ///< the learning rate; none: the method's options'
  std::optional<double> weight_decay = {};  ///< what it means is the method's; none: its options'
};

/// Changes parameters by their gradients; a parameter without a gradient is left alone. A method
/// names its moments, what it remembers for each parameter, and its constants, and says how one
/// parameter is updated. Nothing is recorded on a tape, not even if an update is written in ops.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update of every parameter that has a gradient, of any strides. Errors: a parameter that
  /// has another shape than its moments, or elements that share memory, as expanded ones do; a rate
  /// or constant that its dtype does not hold. A step that fails, for want of memory too, changes
  /// no parameter and no state.
  void step();
  /// No parameter has a gradient from here on, until one arrives.
  void zero_grad();

  /// Errors: a learning rate or weight decay that is negative or NaN, a rate that neither the group
  /// nor the method's options name, a parameter that needs no gradient or is here already, itself
  /// or as another tensor's memory.
  void add_group(const ParameterGroup& group);
  /// How many groups; they count from 0.
  size_t group_count() const { return groups_.size(); }
  /// The learning rate in force: the group's own times the factor.
  double lr(size_t group = 0) const { return base_lr(group) * lr_factor_; }
  /// A group's own learning rate, which set_lr() sets.
  double base_lr(size_t group = 0) const;
  void set_lr(double lr, size_t group = 0);
  /// Multiplies every group's learning rate for the steps to come; what a Schedule gives.
  void set_lr_factor(double factor);

  /// All that the steps to come depend on beside parameters and gradients, copied: the factor and
  /// the method's constants as "<method>.<name>", the groups' rates as "<group>.lr" and
  /// "<group>.weight_decay", step counts and moments, in the dtype that their parameter has by
  /// then, as "<group>.<index>.<name>". An error where a parameter has another shape than its
  /// moments: there is no step to come.
  NamedTensors state() const;
  /// Goes on exactly where the optimizer that gave this state was: its rates, factor and constants
  /// take the place of those here. Errors: another method's state, values that are missing, are no
  /// parameter's, or do not fit; then nothing changes.
  void load_state(const NamedTensors& values);

  /// What one update needs to know of its parameter.
  struct Update {
    double lr, weight_decay;       ///< its group's, the first with the factor
    int64_t step;                  ///< 1 for the first
    Tensor& parameter;             ///< contiguous, to be changed in place
    const Tensor& gradient;        ///< contiguous
    std::vector<Tensor>& moments;  ///< in the order of their names, zeros at first
  };

  /// A number or a switch of the method's options, which a state holds by its name.
  struct Constant {
    const char* name;                    ///< as the options name it
    std::variant<double*, bool*> value;  ///< where the method keeps it
    /// What a state means that does not hold it, as one saved before the method had it; none: such
    /// a state is refused.
    std::optional<double> if_missing = {};
  };

 protected:
  /// `method` names it in states and errors; the names of its moments follow.
  Optimizer(std::string method, std::vector<std::string> moments)
      : method_(std::move(method)), moment_names_(std::move(moments)) {}
  /// For a method's constructor: which numbers and switches its states hold.
  void set_constants(std::vector<Constant> constants) { constants_ = std::move(constants); }
  /// For a method's constructor: its groups, and what those have that name no rate or weight decay,
  /// these and later ones.
  void add_groups(const std::vector<ParameterGroup>& groups, double lr, double weight_decay);

  /// Changes one parameter and its moments by its gradient.
  virtual void update(const Update& u) = 0;
  /// Whether the constants leave moment m in: the Tensor of one that is left out is empty.
  virtual bool has_moment(size_t) const { return true; }
  /// Whether moment m is made of squares: a state in which it is negative is refused.
  virtual bool is_of_squares(size_t) const { return false; }
  /// An error where the constants are not allowed; asked when a state has set them.
  virtual void check_constants() const {}
  /// The largest number that an update at this rate and weight decay multiplies by, beside the
  /// constants.
  virtual double largest_factor(double lr, double weight_decay) const {
    return (std::max)(lr, weight_decay);
  }
  /// Whether update() may throw. It is then given copies, which take the originals' places when all
  /// parameters are updated.
  virtual bool update_may_fail() const { return true; }

  /// An error naming `optimizer` unless the value is finite and not negative.
  static void check_rate(const char* optimizer, const char* what, double value);
  /// What errors and states call it.
  const std::string& method() const { return method_; }

 private:
  friend class Checkpoint;
  struct Slot {
    Tensor parameter;
    std::vector<Tensor> moments;  ///< as many as names, once there was a step
    int64_t steps = 0;
    int64_t fits_at = -1;  ///< a version of the parameter at which fits() held; -1: none is known
  };
  struct Group {
    std::vector<Slot> members;
    double lr, weight_decay;
  };
  /// What an update goes over that cannot go over the slot's own memory.
  struct Copies {
    Slot* slot;
    Tensor parameter, gradient;
    std::vector<Tensor> moments;
  };
  struct StateReader;
  void check_group(size_t group) const;
  void check_new(const Tensor& parameter, const Group& group) const;
  template <class Visit>
  void each_to_step(Visit visit);
  bool fits(const Slot& slot) const;
  void check_held(const Group& group) const;
  bool is_plain(const Slot& slot, const Tensor& gradient) const;
  Tensor copy_moment(const Slot& slot, size_t m) const;
  std::vector<Tensor> copy_moments(const Slot& slot) const;
  Copies copies_of(Slot& slot) const;
  void check_updated(Copies& copies) const;
  void load_slot(StateReader& state, const std::string& path, Slot& slot) const;
  /// load_state() up to where nothing fails any more: what is returned does the rest.
  std::function<void()> prepare_load(const NamedTensors& values);

  std::string method_;
  std::vector<std::string> moment_names_;
  std::vector<Constant> constants_;
  std::vector<Group> groups_;
  std::optional<double> default_lr_;
  double default_weight_decay_ = 0, lr_factor_ = 1;
};

/// How clip_grad_norm() takes gradients that are not finite.
struct ClipOptions {
  /// Whether a norm that is infinite or NaN is an error, which leaves all gradients as they were.
  /// Else it is returned, and what it makes of the gradients is NaN and 0, as PyTorch has it.
  bool error_if_nonfinite = true;
};

/// Scales all gradients by max_norm / norm if the norm of all of them together exceeds max_norm
/// (Pascanu et al. 2013); returns the norm before. PyTorch divides by norm + 1e-6. Errors: a
/// parameter that is given twice, a norm that is not finite.
double clip_grad_norm(std::span<const Tensor> parameters, double max_norm,
                      const ClipOptions& options = {});

/// Each gradient's elements become at most clip_value, and at least -clip_value; NaN stays. Errors:
/// a parameter that is given twice, a clip_value that is not positive.
void clip_grad_value(std::span<const Tensor> parameters, double clip_value);

/// The norm of each parameter's gradient, by the parameter's name, in their order; those without a
/// gradient are left out.
std::vector<std::pair<std::string, double>> grad_norms(std::span<const Tensor> parameters);

}  // namespace gradus
