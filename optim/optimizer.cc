#include <gradus/autograd/tape.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/update/update.h>
#include <gradus/optim/optimizer.h>

#include <cmath>
#include <map>

namespace gradus {

void Optimizer::check_rate(const char* optimizer, const char* what, double value) {
  check(value >= 0 && std::isfinite(value), "{}: {} is {}, must be finite and not negative",
        optimizer, what, value);
}

void Optimizer::check_group(size_t group) const {
  check(group < groups_.size(), "Optimizer: there is no group {} of {}, they count from 0", group,
        groups_.size());
}

void Optimizer::add_group(const ParameterGroup& group) {
  check_rate("Optimizer", "the learning rate", group.lr);
  check_rate("Optimizer", "weight decay", group.weight_decay);
  check(!group.parameters.empty(), "Optimizer: a group without parameters");
  Group added{{}, group.lr, group.weight_decay};
  for (const Tensor& parameter : group.parameters) {
    check(parameter && parameter.requires_grad(),
          "Optimizer: parameter {} {} does not require a gradient",
          parameter ? parameter.name() : "", parameter ? str(parameter.shape()) : "(empty)");
    const auto holds = [&](const Group& known) {
      for (const Slot& slot : known.slots)
        if (slot.parameter.is(parameter)) return true;
      return false;
    };
    bool known = holds(added);
    for (const Group& other : groups_) known = known || holds(other);
    check(!known, "Optimizer: parameter {} {} is given twice", parameter.name(), parameter.shape());
    added.slots.push_back({parameter, {}, 0});
  }
  for (Slot& slot : added.slots) slot.parameter.set_parameter_state(ParameterState::shown);
  groups_.push_back(std::move(added));
}

double Optimizer::lr(size_t group) const {
  check_group(group);
  return groups_[group].lr;
}

void Optimizer::set_lr(double lr, size_t group) {
  check_rate("Optimizer", "the learning rate", lr);
  check_group(group);
  groups_[group].lr = lr;
}

void Optimizer::set_lr_factor(double factor) {
  check_rate("Optimizer", "the learning rate's factor", factor);
  lr_factor_ = factor;
}

void Optimizer::zero_grad() {
  for (Group& group : groups_)
    for (Slot& slot : group.slots) slot.parameter.set_grad({});
}

void Optimizer::step() {
  const NoRecord pause;
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      const Tensor& grad = slot.parameter.grad();
      if (!grad) continue;
      slot.moments.resize(moment_names_.size());
      for (size_t m = 0; m < slot.moments.size(); ++m) {
        Tensor& moment = slot.moments[m];
        if (moment_names_[m].empty() || (moment && moment.dtype() == slot.parameter.dtype()))
          continue;
        moment = moment ? raw::cast(moment, slot.parameter.dtype()) : zeros_like(slot.parameter);
      }
      const raw::Contiguous gradient(grad);
      update({group.lr * lr_factor_, group.weight_decay, ++slot.steps, slot.parameter,
              gradient.tensor(), slot.moments});
    }
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors result;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].slots.size(); ++i) {
      const Slot& slot = groups_[g].slots[i];
      const std::string path = fmt::format("{}.{}.", g, i);
      result.emplace_back(path + "step", full({}, static_cast<double>(slot.steps), DType::i64));
      for (size_t m = 0; m < slot.moments.size(); ++m)
        if (slot.moments[m]) result.emplace_back(path + moment_names_[m], slot.moments[m]);
    }
  }
  return result;
}

void Optimizer::load_state(const NamedTensors& values) {
  const std::map<std::string, Tensor> given(values.begin(), values.end());
  const auto value_of = [&](const std::string& path) -> const Tensor& {
    const auto found = given.find(path);
    check(found != given.end() && found->second, "Optimizer: no value for {}", path);
    return found->second;
  };
  std::vector<Group> loaded = groups_;
  size_t used = 0;
  for (size_t g = 0; g < loaded.size(); ++g) {
    for (size_t i = 0; i < loaded[g].slots.size(); ++i) {
      Slot& slot = loaded[g].slots[i];
      const std::string path = fmt::format("{}.{}.", g, i);
      const Tensor& steps = value_of(path + "step");
      check(steps.dtype() == DType::i64 && steps.ndim() == 0,
            "Optimizer: {}step is {} {}, must be one i64", path, steps.shape(),
            name(steps.dtype()));
      slot.steps = *steps.data<int64_t>();
      check(slot.steps >= 0, "Optimizer: {}step is {}", path, slot.steps);
      ++used;
      slot.moments.assign(moment_names_.size(), {});
      for (size_t m = 0; m < slot.moments.size(); ++m) {
        if (moment_names_[m].empty() || slot.steps == 0) continue;
        const Tensor& moment = value_of(path + moment_names_[m]);
        check(moment.shape() == slot.parameter.shape() && moment.dtype() == slot.parameter.dtype(),
              "Optimizer: {}{} is {} {} for a parameter of {} {}", path, moment_names_[m],
              moment.shape(), name(moment.dtype()), slot.parameter.shape(),
              name(slot.parameter.dtype()));
        slot.moments[m] = raw::clone(moment);
        ++used;
      }
    }
  }
  check(used == given.size(), "Optimizer: {} of {} given values belong to no parameter",
        given.size() - used, given.size());
  groups_ = std::move(loaded);
}

double clip_grad_norm(std::span<const Tensor> parameters, double max_norm) {
  check(max_norm > 0, "clip_grad_norm: max_norm is {}, must be positive", max_norm);
  double total = 0;
  for (const Tensor& parameter : parameters) {
    const Tensor gradient = parameter.grad() ? raw::contiguous(parameter.grad()) : Tensor();
    if (!gradient) continue;
    total += dispatch_floating(gradient.dtype(), "clip_grad_norm", [&]<class T>() {
      return kernels::sum_of_squares(gradient.numel(), gradient.data<T>());
    });
  }
  const double norm = std::sqrt(total);
  check(std::isfinite(norm), "clip_grad_norm: the gradients' norm is {}", norm);
  if (norm <= max_norm) return norm;
  for (const Tensor& parameter : parameters) {
    if (!parameter.grad()) continue;
    Tensor gradient = raw::contiguous(parameter.grad());
    dispatch_floating(gradient.dtype(), "clip_grad_norm", [&]<class T>() {
      kernels::update(
          gradient.numel(), kernels::kGrain,
          [scale = static_cast<T>(max_norm / norm)](T& x) { x *= scale; },
          gradient.mutable_data<T>());
    });
    if (!gradient.is(parameter.grad())) Tensor(parameter).set_grad(gradient);
  }
  return norm;
}

}  // namespace gradus
