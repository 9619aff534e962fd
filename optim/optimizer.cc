#include <gradus/autograd/tape.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/kernels/update/update.h>
#include <gradus/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace gradus {

namespace {

double value_of(const Optimizer::Constant& constant) {
  return std::visit([](const auto* value) { return static_cast<double>(*value); }, constant.value);
}

void set_value(const Optimizer::Constant& constant, double x) {
  std::visit([x]<class T>(T* value) { *value = static_cast<T>(x); }, constant.value);
}

DType dtype_of_value(const Optimizer::Constant& constant) {
  return std::holds_alternative<bool*>(constant.value) ? DType::boolean : DType::f64;
}

/// "parameter fc.weight (2,)", "parameter (2,)"
std::string title(const Tensor& parameter) {
  const std::string& name = parameter.name();
  return fmt::format("parameter {}{}{}", name, name.empty() ? "" : " ", parameter.shape());
}

/// Starts the threads that an update of so many elements would: what can fail about it fails here.
void start_threads(int64_t numel) {
  if (numel > kernels::kFunctionGrain) kernels::parallel_for(2, 1, [](int64_t, int64_t) {});
}

}  // namespace

void Optimizer::check_rate(const char* optimizer, const char* what, double value) {
  check(value >= 0 && std::isfinite(value), "{}: {} is {}, must be finite and not negative",
        optimizer, what, value);
}

void Optimizer::check_group(size_t group) const {
  check(group < groups_.size(), "{}: there is no group {} of {}, they count from 0", method_, group,
        groups_.size());
}

/// An error unless the parameter can be trained and is neither in `group` nor in one before.
void Optimizer::check_new(const Tensor& parameter, const Group& group) const {
  check(static_cast<bool>(parameter), "{}: a parameter is an empty Tensor", method_);
  check(parameter.requires_grad(),
        "{}: {} does not require a gradient; give it the parameters that are not frozen", method_,
        title(parameter));
  const auto compare_with = [&](const Group& known) {
    for (const Slot& slot : known.members) {
      check(!slot.parameter.is(parameter), "{}: {} is given twice", method_, title(parameter));
      check(!raw::overlap(slot.parameter, parameter),
            "{}: {} shares memory with {}: it would be stepped twice", method_, title(parameter),
            title(slot.parameter));
    }
  };
  for (const Group& known : groups_) compare_with(known);
  compare_with(group);
}

void Optimizer::add_group(const ParameterGroup& group) {
  const std::optional<double> lr = group.lr ? group.lr : default_lr_;
  check(lr.has_value(), "{}: a group without a learning rate", method_);
  Group added{{}, *lr, group.weight_decay.value_or(default_weight_decay_)};
  check_rate("Optimizer", "the learning rate", added.lr);
  check_rate("Optimizer", "weight decay", added.weight_decay);
  check(!group.parameters.empty(), "{}: a group without parameters", method_);
  for (const Tensor& parameter : group.parameters) {
    check_new(parameter, added);
    added.members.push_back({parameter, {}, 0});
  }
  for (Slot& slot : added.members) slot.parameter.set_parameter_state(ParameterState::shown);
  groups_.push_back(std::move(added));
}

void Optimizer::add_groups(const std::vector<ParameterGroup>& groups, double lr,
                           double weight_decay) {
  check(!groups.empty(), "{}: no group of parameters", method_);
  default_lr_ = lr;
  default_weight_decay_ = weight_decay;
  for (const ParameterGroup& group : groups) add_group(group);
}

double Optimizer::base_lr(size_t group) const {
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
    for (Slot& slot : group.members) slot.parameter.set_grad({});
}

template <class Visit>
void Optimizer::each_to_step(Visit visit) {
  for (Group& group : groups_)
    for (Slot& slot : group.members)
      if (const Tensor& gradient = slot.parameter.grad()) visit(group, slot, gradient);
}

/// Whether update() can go over the parameter's memory and the moments. Not inline, as a step
/// rarely asks.
[[gnu::noinline]] bool Optimizer::fits(const Slot& slot) const {
  const Tensor& p = slot.parameter;
  if (!is_floating(p.dtype()) || !p.is_contiguous() || slot.moments.size() != moment_names_.size())
    return false;
  for (size_t m = 0; m < slot.moments.size(); ++m) {
    const Tensor& moment = slot.moments[m];
    if (moment ? moment.dtype() != p.dtype() || moment.shape() != p.shape() : has_moment(m))
      return false;
  }
  return true;
}

/// Whether update() can go over the slot's own memory. A parameter that nobody but update() has
/// changed still fits: no other dtype, shape or strides come without another version.
inline bool Optimizer::is_plain(const Slot& slot, const Tensor& gradient) const {
  const Tensor& p = slot.parameter;
  return (p.version() == slot.fits_at || fits(slot)) && gradient.is_contiguous() &&
         gradient.dtype() == p.dtype() && gradient.numel() == p.numel() &&
         !gradient.shares_storage(p);
}

/// The slot's moment as its parameter's next update needs it; empty if there is none so far.
Tensor Optimizer::copy_moment(const Slot& slot, size_t m) const {
  const Tensor& p = slot.parameter;
  const Tensor old = m < slot.moments.size() ? slot.moments[m] : Tensor();
  if (!old) return {};
  if (old.shape() != p.shape())
    fail(
        "{}: parameter {} is {}, but was {} when its {} began: its data was set, or its layer "
        "assigned, since; make a new optimizer",
        method_, p.name(), p.shape(), old.shape(), moment_names_[m]);
  return old.dtype() == p.dtype() ? raw::clone(old) : raw::cast(old, p.dtype());
}

/// The slot's moments, zeros at first, for an update of their own.
std::vector<Tensor> Optimizer::copy_moments(const Slot& slot) const {
  std::vector<Tensor> moments(moment_names_.size());
  for (size_t m = 0; m < moments.size(); ++m) {
    moments[m] = copy_moment(slot, m);
    if (!moments[m] && has_moment(m)) moments[m] = zeros_like(slot.parameter);
  }
  return moments;
}

/// What an update that cannot go over the slot's own memory goes over.
Optimizer::Copies Optimizer::copies_of(Slot& slot) const {
  const Tensor &p = slot.parameter, &gradient = p.grad();
  if (!is_floating(p.dtype()) || gradient.shape() != p.shape() || gradient.dtype() != p.dtype())
    fail("{}: {} is {}, its gradient {} {}", method_, title(p), p.dtype(), gradient.shape(),
         gradient.dtype());
  raw::check_writable(method_.c_str(), p);
  Copies copies{&slot, raw::clone(p), raw::clone(gradient), copy_moments(slot)};
  if (!p.name().empty()) copies.parameter.set_name(p.name());
  return copies;
}

/// After an update that might have failed: what it made of the parameter, as copy() takes it.
void Optimizer::check_updated(Copies& copies) const {
  const Tensor &p = copies.slot->parameter, &result = copies.parameter;
  check(result && result.shape() == p.shape() && result.dtype() == p.dtype(),
        "{}: its update made {} {} of parameter {} {} {}", method_,
        result ? str(result.shape()) : "an empty Tensor", result ? name(result.dtype()) : "",
        p.name(), p.shape(), p.dtype());
  copies.parameter = result.shares_storage(p) ? raw::clone(result) : raw::contiguous(result);
}

/// An error where f32 does not hold the group's rates and the constants, as normal numbers since an
/// eps that becomes 0 divides 0 by 0, and a parameter that is stepped is f32.
void Optimizer::check_held(const Group& group) const {
  const auto check_one = [&](const char* what, double value, bool held) {
    if (held) [[likely]]
      return;
    for (const Slot& slot : group.members) {
      const Tensor& p = slot.parameter;
      if (p.grad() && p.dtype() == DType::f32)
        fail("{}: {} is f32, which does not hold {} {}", method_, title(p), what, value);
    }
  };
  constexpr double kMost = std::numeric_limits<float>::max(),
                   kLeast = std::numeric_limits<float>::min();
  const double lr = group.lr * lr_factor_, decay = group.weight_decay,
               factor = largest_factor(lr, decay);
  check_one("the learning rate", lr, lr <= kMost);
  check_one("weight decay", decay, decay <= kMost);
  check_one("what the learning rate gives,", factor, factor <= kMost);
  for (const Constant& constant : constants_) {
    if (!std::holds_alternative<double*>(constant.value)) continue;
    const double value = value_of(constant), size = std::abs(value);
    check_one(constant.name, value, size <= kMost && (size >= kLeast || size == 0));
  }
}

void Optimizer::step() {
  const NoRecord pause;
  const bool may_fail = update_may_fail();
  std::vector<Copies, FreeListAllocator<Copies>> copies;
  int64_t largest = 0;
  for (const Group& group : groups_) check_held(group);
  each_to_step([&](const Group&, Slot& slot, const Tensor& gradient) {
    if (may_fail || !is_plain(slot, gradient)) copies.push_back(copies_of(slot));
    largest = std::max(largest, slot.parameter.numel());
  });
  start_threads(largest);
  auto next = copies.begin();
  each_to_step([&](const Group& group, Slot& slot, const Tensor& gradient) {
    const double lr = group.lr * lr_factor_;
    if (next == copies.end() || next->slot != &slot) {  // it cannot fail
      update({lr, group.weight_decay, ++slot.steps, slot.parameter, gradient, slot.moments});
      slot.fits_at = slot.parameter.version();
      return;
    }
    update(
        {lr, group.weight_decay, slot.steps + 1, next->parameter, next->gradient, next->moments});
    if (may_fail) check_updated(*next);
    ++next;
  });
  for (Copies& done : copies) {  // nothing fails from here on
    raw::copy(done.parameter, done.slot->parameter);
    done.slot->moments = std::move(done.moments);
    ++done.slot->steps;
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors result;
  const auto add = [&](const std::string& path, double value, DType dtype) {
    result.emplace_back(path, full({}, value, dtype));
  };
  add(method_ + ".lr_factor", lr_factor_, DType::f64);
  for (const Constant& constant : constants_)
    add(fmt::format("{}.{}", method_, constant.name), value_of(constant), dtype_of_value(constant));
  for (size_t g = 0; g < groups_.size(); ++g) {
    add(fmt::format("{}.lr", g), groups_[g].lr, DType::f64);
    add(fmt::format("{}.weight_decay", g), groups_[g].weight_decay, DType::f64);
    for (size_t i = 0; i < groups_[g].members.size(); ++i) {
      const Slot& slot = groups_[g].members[i];
      const std::string path = fmt::format("{}.{}.", g, i);
      add(path + "step", static_cast<double>(slot.steps), DType::i64);
      for (size_t m = 0; m < slot.moments.size(); ++m)
        if (Tensor moment = copy_moment(slot, m))
          result.emplace_back(path + moment_names_[m], std::move(moment));
    }
  }
  return result;
}

/// A state by its names, each to be asked for once.
struct Optimizer::StateReader {
  StateReader(const std::string& method_, const NamedTensors& values)
      : method(method_), given(values.begin(), values.end()) {
    check(given.size() == values.size(), "{}: a name is given twice in a state of {} values",
          method, values.size());
    const std::string ending = ".lr_factor";
    for (const auto& [path, value] : given)
      if (path.ends_with(ending))
        check(path == method + ending, "{}: the state is of {}, another method", method,
              path.substr(0, path.size() - ending.size()));
  }
  const Tensor& value(const std::string& path) {
    const auto found = given.find(path);
    check(found != given.end() && found->second, "{}: no value for {}", method, path);
    ++used;
    return found->second;
  }
  double number(const std::string& path, DType dtype) {
    const Tensor& x = value(path);
    check(x.dtype() == dtype && x.ndim() == 0, "{}: {} is {} {}, must be one {}", method, path,
          x.shape(), x.dtype(), dtype);
    return x.item();
  }
  void check_all_used() const {
    check(used == given.size(), "{}: {} of {} given values belong to no parameter", method,
          given.size() - used, given.size());
  }
  const std::string& method;
  std::map<std::string, Tensor> given;
  size_t used = 0;
};

namespace {

void check_not_negative(const std::string& method, const std::string& path, const Tensor& x) {
  const std::vector<double> values = x.to_vector<double>();
  const auto negative = std::ranges::find_if(values, [](double value) { return value < 0; });
  check(negative == values.end(), "{}: {} {} is made of squares, and one of its values is {}",
        method, path, x.shape(), negative == values.end() ? 0 : *negative);
}

}  // namespace

void Optimizer::load_slot(StateReader& state, const std::string& path, Slot& slot) const {
  const double steps = state.number(path + "step", DType::i64);
  check(steps >= 0, "{}: {}step is {}", method_, path, steps);
  slot.steps = static_cast<int64_t>(steps);
  slot.moments.assign(moment_names_.size(), {});
  slot.fits_at = -1;
  for (size_t m = 0; m < slot.moments.size(); ++m) {
    if (!has_moment(m) || slot.steps == 0) continue;
    const Tensor& moment = state.value(path + moment_names_[m]);
    const Tensor& p = slot.parameter;
    check(moment.shape() == p.shape() && moment.dtype() == p.dtype(),
          "{}: {}{} is {} {} for a parameter of {} {}", method_, path, moment_names_[m],
          moment.shape(), moment.dtype(), p.shape(), p.dtype());
    if (is_of_squares(m)) check_not_negative(method_, path + moment_names_[m], moment);
    slot.moments[m] = raw::clone(moment);
  }
}

std::function<void()> Optimizer::prepare_load(const NamedTensors& values) {
  StateReader state(method_, values);
  std::vector<double> mine, given;
  const double factor = state.number(method_ + ".lr_factor", DType::f64);
  check_rate("Optimizer", "the learning rate's factor", factor);
  for (const Constant& constant : constants_) {
    const std::string path = fmt::format("{}.{}", method_, constant.name);
    mine.push_back(value_of(constant));
    given.push_back(constant.if_missing && !state.given.contains(path)
                        ? *constant.if_missing
                        : state.number(path, dtype_of_value(constant)));
  }
  const auto set_values = [this](const std::vector<double>& to) {
    for (size_t k = 0; k < to.size(); ++k) set_value(constants_[k], to[k]);
  };
  std::vector<Group> loaded = groups_;
  const auto read = [&] {
    check_constants();
    for (size_t g = 0; g < loaded.size(); ++g) {
      loaded[g].lr = state.number(fmt::format("{}.lr", g), DType::f64);
      loaded[g].weight_decay = state.number(fmt::format("{}.weight_decay", g), DType::f64);
      check_rate("Optimizer", "the learning rate", loaded[g].lr);
      check_rate("Optimizer", "weight decay", loaded[g].weight_decay);
      for (size_t i = 0; i < loaded[g].members.size(); ++i)
        load_slot(state, fmt::format("{}.{}.", g, i), loaded[g].members[i]);
    }
    state.check_all_used();
  };
  set_values(given);  // they say which moments there are
  try {
    read();
  } catch (...) {
    set_values(mine);
    throw;
  }
  set_values(mine);
  return
      [this, set_values, given = std::move(given), loaded = std::move(loaded), factor]() mutable {
        set_values(given);
        groups_ = std::move(loaded);
        lr_factor_ = factor;
      };
}

void Optimizer::load_state(const NamedTensors& values) { prepare_load(values)(); }

namespace {

/// The parameters' gradients, those that are there, as contiguous tensors.
TensorList gradients_of(std::span<const Tensor> parameters) {
  TensorList gradients;
  for (const Tensor& parameter : parameters)
    if (parameter.grad()) gradients.push_back(raw::contiguous(parameter.grad()));
  return gradients;
}

/// f(x) for each element of each tensor.
template <class F>
void for_each_element(const TensorList& tensors, F f) {
  for (const Tensor& x : tensors)
    dispatch_floating(x.dtype(), "clip_grad_norm", [&]<class T>() {
      const T* values = x.data<T>();
      for (int64_t i = 0; i < x.numel(); ++i) f(static_cast<double>(values[i]));
    });
}

/// The norm of tensors whose squares f64 cannot hold: of their elements as parts of the largest.
double norm_by_largest(const TensorList& tensors) {
  double largest = 0;
  for_each_element(tensors, [&](double x) {
    if (!(std::abs(x) <= largest) && !std::isnan(largest)) largest = std::abs(x);
  });
  if (largest == 0 || !std::isfinite(largest)) return largest;
  const int exponent = std::ilogb(largest);
  double total = 0;
  for_each_element(tensors, [&](double x) {
    const double part = std::ldexp(x, -exponent);
    total += part * part;
  });
  return std::ldexp(std::sqrt(total), exponent);
}

double norm_of(const TensorList& tensors) {
  double total = 0;
  for (const Tensor& x : tensors)
    total += dispatch_floating(x.dtype(), "clip_grad_norm", [&]<class T>() {
      return kernels::sum_of_squares(x.numel(), x.data<T>());
    });
  // Below, squares may have lost what they were; all of f32's lie above, but for 0.
  const bool held = total >= 0x1p-960 && std::isfinite(total);
  return held ? std::sqrt(total) : norm_by_largest(tensors);
}

void check_parameters(const char* what, std::span<const Tensor> parameters) {
  std::vector<const void*, FreeListAllocator<const void*>> ids;
  for (size_t i = 0; i < parameters.size(); ++i) {
    check(static_cast<bool>(parameters[i]), "{}: parameter {} is an empty Tensor", what, i);
    ids.push_back(parameters[i].id());
  }
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice == ids.end()) return;
  const auto which = std::find_if(parameters.begin(), parameters.end(),
                                  [&](const Tensor& x) { return x.id() == *twice; });
  fail("{}: {} is given twice", what, title(*which));
}

/// Where one gradient lies in the memory of another, as where both are one tensor, it becomes a
/// copy: so that none is scaled twice.
void separate(TensorList& gradients) {
  std::vector<Tensor*, FreeListAllocator<Tensor*>> by_place;
  for (Tensor& x : gradients) by_place.push_back(&x);
  std::sort(by_place.begin(), by_place.end(),
            [](const Tensor* a, const Tensor* b) { return a->bytes() < b->bytes(); });
  const char* end = nullptr;  // of those so far
  for (Tensor* x : by_place) {
    const char *begin = x->bytes(),
               *last = begin + static_cast<size_t>(x->numel()) * size_of(x->dtype());
    if (begin < end) *x = raw::clone(*x);
    end = std::max(end, last);
  }
}

/// Applies `f` to the gradients, which the parameters that have one get.
template <class F>
void change(std::span<const Tensor> parameters, TensorList& gradients, F f) {
  auto gradient = gradients.begin();
  for (const Tensor& parameter : parameters) {
    if (!parameter.grad()) continue;
    f(*gradient);
    if (!gradient->is(parameter.grad())) Tensor(parameter).set_grad(*gradient);
    ++gradient;
  }
}

/// x *= max_norm / norm, in a wider range where T does not hold that number well.
void scale(Tensor& x, double max_norm, double norm) {
  dispatch_floating(x.dtype(), "clip_grad_norm", [&]<class T>() {
    const T factor = static_cast<T>(max_norm / norm);
    T* const values = x.mutable_data<T>();
    if (std::isnormal(factor) || !std::isfinite(norm))
      kernels::update(
          x.numel(), kernels::kGrain, [factor](T& v) { v *= factor; }, values);
    else
      for (int64_t i = 0; i < x.numel(); ++i)
        values[i] = static_cast<T>(static_cast<double>(values[i]) / norm * max_norm);
  });
}

}  // namespace

double clip_grad_norm(std::span<const Tensor> parameters, double max_norm,
                      const ClipOptions& options) {
  check(max_norm > 0, "clip_grad_norm: max_norm is {}, must be positive", max_norm);
  check_parameters("clip_grad_norm", parameters);
  TensorList gradients = gradients_of(parameters);
  const double norm = norm_of(gradients);
  check(std::isfinite(norm) || !options.error_if_nonfinite,
        "clip_grad_norm: the gradients' norm is {}", norm);
  if (norm <= max_norm) return norm;
  separate(gradients);
  change(parameters, gradients, [&](Tensor& x) { scale(x, max_norm, norm); });
  return norm;
}

void clip_grad_value(std::span<const Tensor> parameters, double clip_value) {
  check(clip_value > 0, "clip_grad_value: clip_value is {}, must be positive", clip_value);
  check_parameters("clip_grad_value", parameters);
  TensorList gradients = gradients_of(parameters);
  change(parameters, gradients, [&](Tensor& x) {
    dispatch_floating(x.dtype(), "clip_grad_value", [&]<class T>() {
      const auto bound = static_cast<T>(clip_value);
      const auto rule = [bound](T& v) { v = v > bound ? bound : v < -bound ? -bound : v; };
      kernels::update(x.numel(), kernels::kGrain, rule, x.mutable_data<T>());
    });
  });
}

std::vector<std::pair<std::string, double>> grad_norms(std::span<const Tensor> parameters) {
  check_parameters("grad_norms", parameters);
  std::vector<std::pair<std::string, double>> norms;
  for (const Tensor& parameter : parameters)
    if (parameter.grad())
      norms.emplace_back(parameter.name(), norm_of(gradients_of(std::span(&parameter, 1))));
  return norms;
}

}  // namespace gradus
