#include <fmt/format.h>
#include <gradus/base/detail/fork.h>
#include <gradus/layers/module.h>
#include <gradus/tensor/detail/named_tensors.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace gradus {

namespace {

/// What is one tensor under several names in a module that is being copied.
struct Tied {
  Tensor source, copy;
  uint32_t source_version, copy_version;  // when `copy` became one
};

/// Everything that a module and those below it own, and those below it.
class AllOwned : public Visitor {
 public:
  std::map<const void*, std::vector<const OwnedTensor*>> by_tensor;
  std::vector<const Module*> modules;

 protected:
  void on_parameter(std::string_view, Parameter& parameter) override { add(parameter); }
  void on_buffer(std::string_view, Buffer& buffer) override { add(buffer); }
  void on_module(std::string_view, Module& module) override {
    modules.push_back(&module);
    module.visit(*this);
  }

 private:
  void add(const OwnedTensor& x) {
    std::vector<const OwnedTensor*>& names = by_tensor[x.id()];
    if (std::find(names.begin(), names.end(), &x) == names.end()) names.push_back(&x);
  }
};

/// A module's copying, with its parts'.
struct Copying {
  const Module* to;
  std::unordered_map<const Module*, bool> modules;  // whether their copying has begun
  std::unordered_map<const OwnedTensor*, std::shared_ptr<Tied>> tied;  // not copied so far

  bool is_over() const {
    return tied.empty() && std::all_of(modules.begin(), modules.end(),
                                       [](const auto& module) { return module.second; });
  }
};

constinit thread_local bool is_copying = false;

/// This thread's, the innermost last. Nothing tells when one is over that leaves something out. It
/// is when its module, or an outer one's next part, is copied, when a tensor cannot be, or when one
/// of its modules ends, as the copy does if it fails.
class Copyings {
 public:
  ~Copyings() { is_copying = false; }

  void begin(Module& from, const Module& to) {
    for (size_t i = all_.size(); i-- > 0;) {
      const auto part = all_[i].modules.find(&from);
      if (part == all_[i].modules.end() || std::exchange(part->second, true)) continue;
      all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i) + 1, all_.end());
      return;
    }
    erase_if([&](const Copying& one) { return one.is_over() || one.modules.contains(&from); });
    all_.push_back(copying(from, to));
    is_copying = true;
  }
  void end() {
    erase_if([](const Copying&) { return true; });
  }
  void end_with(const Module& module) {
    erase_if(
        [&](const Copying& one) { return one.to == &module || one.modules.contains(&module); });
  }
  std::shared_ptr<Tied> take_tied(const OwnedTensor& x);

 private:
  template <class F>
  void erase_if(F f) {
    std::erase_if(all_, f);
    is_copying = !all_.empty();
  }
  static Copying copying(Module& from, const Module& to) {
    AllOwned owned;
    from.visit(owned);
    Copying one{&to, {{&from, true}}, {}};
    for (const Module* module : owned.modules) one.modules.emplace(module, false);
    for (const auto& [id, names] : owned.by_tensor) {
      if (names.size() < 2) continue;
      const auto tied = std::make_shared<Tied>(Tied{*names[0], {}, 0, 0});
      for (const OwnedTensor* name : names) one.tied[name] = tied;
    }
    return one;
  }
  std::vector<Copying> all_;
};

Copyings& copyings() {
  static thread_local Copyings all;
  return all;
}

Tensor deep_copy(const Tensor& x) {
  if (!x) return {};
  Tensor copy = raw::clone(x);
  copy.set_requires_grad(x.requires_grad());
  if (x.parameter_state() != ParameterState::none)
    copy.set_parameter_state(ParameterState::hidden);  // nobody was given this one
  if (!x.name().empty()) copy.set_name(x.name());
  return copy;
}

/// What x's copy has to be one tensor with; null if it is one by itself. What was changed since it
/// was copied is none: that copying is over.
std::shared_ptr<Tied> Copyings::take_tied(const OwnedTensor& x) {
  for (auto copying = all_.rbegin(); copying != all_.rend(); ++copying) {
    const auto found = copying->tied.find(&x);
    if (found == copying->tied.end()) continue;
    std::shared_ptr<Tied> one = found->second;
    copying->tied.erase(found);
    const bool is_one = one->source.is(x),
               changed = one->copy && (one->source.version() != one->source_version ||
                                       one->copy.version() != one->copy_version);
    return is_one && !changed ? one : nullptr;
  }
  return nullptr;
}

void set_copy(Tied& one, const Tensor& copy) {
  one.copy = copy;
  one.source_version = one.source.version();
  one.copy_version = copy.version();
}

/// Copies x by copy(what it is tied in, or null).
template <class Copy>
auto copy_owned(const OwnedTensor& x, Copy copy) {
  try {
    return copy(copyings().take_tied(x).get());
  } catch (...) {
    copyings().end();
    throw;
  }
}

Tensor tied_copy(const OwnedTensor& x) {
  return copy_owned(x, [&](Tied* tied) {
    if (!tied) return deep_copy(x);
    if (!tied->copy) set_copy(*tied, deep_copy(x));
    return tied->copy;
  });
}

}  // namespace

OwnedTensor::OwnedTensor(const OwnedTensor& other) : Tensor(tied_copy(other)) {}

OwnedTensor& OwnedTensor::operator=(const OwnedTensor& other) {
  if (this == &other) return *this;
  copy_owned(other, [&](Tied* tied) {
    if (tied && tied->copy)
      static_cast<Tensor&>(*this) = tied->copy;
    else if (*this && other)
      set_data(raw::clone(other));
    else
      static_cast<Tensor&>(*this) = deep_copy(other);
    if (tied) set_copy(*tied, *this);
  });
  return *this;
}

// A name asks for memory.  NOLINTNEXTLINE(performance-noexcept-move-constructor)
OwnedTensor& OwnedTensor::operator=(OwnedTensor&& other) {
  if (*this && other && !name().empty()) other.set_name(name());
  Tensor::operator=(std::move(other));
  return *this;
}

Parameter::Parameter(const Shape& shape, const Init& init, DType dtype)
    : OwnedTensor(empty(shape, dtype)), init_(init) {
  Generator generator(init.kind == Init::Kind::constant ? uint64_t{0}
                                                        : default_generator().uint64());
  init.draw(*this, generator);
  set_requires_grad();
  set_parameter_state(ParameterState::hidden);
}

void Init::draw(Tensor& x, Generator& generator) const {
  check_number("Init", scale, x.dtype());
  check(kind == Kind::constant || (scale >= 0 && std::isfinite(scale)),
        "Init: a bound or deviation of {}; is there no input?", scale);
  check(!zero_row || (x.ndim() > 0 && *zero_row >= 0 && *zero_row < x.size(0)),
        "Init: a row {} that is 0 in {}", zero_row.value_or(0), x.shape());
  switch (kind) {
    case Kind::constant:
      raw::fill(x, scale, "Init");
      break;
    case Kind::uniform:
      raw::copy(gradus::uniform(x.shape(), -scale, scale, generator, x.dtype()), x, "Init");
      break;
    case Kind::normal: {
      Tensor values = randn(x.shape(), generator, x.dtype());
      dispatch_floating(x.dtype(), "Init", [&]<class T>() {
        T* value = values.mutable_data<T>();
        for (int64_t i = 0; i < values.numel(); ++i) value[i] *= static_cast<T>(scale);
      });
      raw::copy(values, x, "Init");
    }
  }
  if (!zero_row) return;
  const size_t inner = static_cast<size_t>(x.ndim()) - 1;
  Tensor row =
      as_strided(x, x.shape().erased(0), {x.strides() + 1, inner}, *zero_row * x.strides()[0]);
  raw::fill(row, 0, "Init");
}

namespace {

/// Walks a module and its children, keeping the path, and sees to it that each has one of its own.
class Walker : public Visitor {
 public:
  std::function<void(const std::string& path, Parameter&)> each_parameter;
  std::function<void(const std::string& path, Buffer&)> each_buffer;
  std::function<void(const std::string& path, std::string_view name, Module&)> each_module;

 protected:
  void on_parameter(std::string_view name, Parameter& parameter) override {
    const std::string path = path_to(name);
    if (each_parameter) each_parameter(path, parameter);
  }
  void on_buffer(std::string_view name, Buffer& buffer) override {
    const std::string path = path_to(name);
    if (each_buffer) each_buffer(path, buffer);
  }
  void on_module(std::string_view name, Module& module) override {
    const std::string outer = std::exchange(path_, path_to(name));
    if (each_module) each_module(path_, name, module);
    module.visit(*this);
    path_ = outer;
  }

 private:
  std::string path_to(std::string_view name) {
    std::string path = path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
    check(!name.empty(), "visit: something in \"{}\" has no name", path_);
    check(name.front() != '.' && name.back() != '.' && name.find("..") == std::string_view::npos,
          "visit: \"{}\" is no name: dots stand between the names of parents and children", path);
    detail::check_name_in_file("visit", path);
    check(
        known_.insert(path).second,
        "visit: two things are called {}; each parameter, buffer and child needs a name of its own",
        path);
    return path;
  }
  std::string path_;
  std::unordered_set<std::string> known_;
};

/// This thread's forwards. One object, as a look for it costs more than its use.
struct Forwards {
  ForwardScope* innermost = nullptr;
  size_t noted = 0;  // buffers of all_noted()
};
[[gnu::tls_model("initial-exec")]] constinit thread_local Forwards forwards;

/// What an exception puts back.
struct Noted {
  Tensor buffer, values;
};
std::vector<Noted>& all_noted() {
  static thread_local std::vector<Noted> noted;
  return noted;
}

}  // namespace

/// Not inline, as a forward rarely needs it.
[[gnu::noinline]] void ForwardScope::name_modules() {
  outermost_.name_owned(Module::Place::shown);
  if (module_.place_ == Module::Place::unknown) module_.name_owned(Module::Place::hidden);
}

std::string_view ForwardScope::name_in_model() {
  if (module_.place_.load(std::memory_order_acquire) == Module::Place::unknown) [[unlikely]]
    name_modules();
  return outer_ && &outer_->module_ == &module_ ? std::string_view() : module_.name_;
}

ForwardScope::ForwardScope(Module& module)
    : module_(module),
      outer_(forwards.innermost),
      outermost_(outer_ ? outer_->outermost_ : module),
      context_(name_in_model()),
      exceptions_(0),
      noted_(forwards.noted) {
  forwards.innermost = this;
}

ForwardScope::~ForwardScope() {
  forwards.innermost = outer_;
  if (forwards.noted != noted_) [[unlikely]]
    end_notes();
}

/// Not inline, as a forward rarely needs it.
[[gnu::noinline]] void ForwardScope::end_notes() {
  std::vector<Noted>& noted = all_noted();
  const bool failed = std::uncaught_exceptions() > exceptions_;
  if (!failed && outer_) return;
  while (noted.size() > noted_) {
    if (failed) noted.back().buffer.set_data(noted.back().values);  // whatever its shape is by now
    noted.pop_back();
  }
  forwards.noted = noted_;
}

void ForwardScope::restore_on_error(const Buffer& buffer) {
  if (!forwards.innermost) return;
  // As many as when the scopes began, and asked here, where they do not cost every forward.
  const int exceptions = std::uncaught_exceptions();
  for (ForwardScope* scope = forwards.innermost; scope; scope = scope->outer_)
    scope->exceptions_ = exceptions;
  all_noted().push_back({buffer, raw::clone(buffer)});
  forwards.noted = all_noted().size();
}

Module::Module(const Module& other) : name_(other.name_), training_(other.training_) {
  copyings().begin(const_cast<Module&>(other), *this);
}

Module::~Module() {
  if (is_copying) copyings().end_with(*this);
}

Module::Module(Module&& other) noexcept
    : name_(std::move(other.name_)), training_(other.training_) {}

Module& Module::operator=(const Module& other) {
  copyings().begin(const_cast<Module&>(other), *this);
  training_ = other.training_;
  place_ = Place::unknown;
  return *this;
}

Module& Module::operator=(Module&& other) noexcept {
  training_ = other.training_;
  place_ = Place::unknown;
  return *this;
}

void Module::initialize(uint64_t seed) {
  std::unordered_set<const void*> known;
  std::vector<std::pair<Tensor, Tensor>> drawn;
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    if (!known.insert(parameter.id()).second) return;
    raw::check_writable("initialize", parameter);
    Generator generator(seed, path);
    Tensor values = empty_like(parameter);
    parameter.init().draw(values, generator);
    drawn.emplace_back(parameter, std::move(values));
  };
  visit(walker);
  for (auto& [parameter, values] : drawn) raw::copy(values, parameter);
}

void Module::name_owned(Place place) {
  const bool hidden = place == Place::hidden;  // then it goes by what it is
  const std::string own = hidden ? describe() : "", prefix = hidden ? own + "." : "";
  std::vector<std::pair<std::string, Module*>> modules;
  NamedTensors parameters;
  std::unordered_set<const void*> known;
  Walker walker;
  walker.each_module = [&](const std::string&, std::string_view name, Module& module) {
    modules.emplace_back(name, &module);
  };
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    if (known.insert(parameter.id()).second) parameters.emplace_back(prefix + path, parameter);
  };
  visit(walker);
  // Of threads that ask the same model.
  const std::lock_guard lock(detail::process_mutex);
  if (hidden && name_.empty()) name_ = own;
  for (const auto& [name, module] : modules) {
    if (module->name_ != name) module->name_ = name;
    module->place_.store(place, std::memory_order_release);
  }
  for (auto& [path, parameter] : parameters)
    if (parameter.name() != path) parameter.set_name(path);
  place_.store(place, std::memory_order_release);
}

void Module::check_mode() const {
  check(!training_ || !forwards.innermost || forwards.innermost->outermost_.training_,
        "{} is in training where {}, whose visit does not show it, is evaluated; show it, so that "
        "eval() reaches it",
        describe(), forwards.innermost ? forwards.innermost->outermost_.describe() : "");
}

void Module::train(bool training) {
  for (const auto& [path, module] : named_modules()) module->set_training(training);
}

void Module::freeze(bool frozen) {
  Walker walker;
  walker.each_parameter = [&](const std::string&, Parameter& parameter) {
    parameter.set_requires_grad(!frozen);
    if (frozen) parameter.set_grad({});
  };
  visit(walker);
  for (const auto& [path, module] : named_modules()) module->on_freeze(frozen);
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> result;
  for (auto& [name, parameter] : named_parameters()) result.push_back(parameter);
  return result;
}

NamedTensors Module::named_parameters() {
  name_owned(Place::shown);
  NamedTensors result;
  std::unordered_set<const void*> known;
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    if (known.insert(parameter.id()).second) result.emplace_back(path, parameter);
  };
  visit(walker);
  const std::lock_guard lock(detail::process_mutex);
  for (auto& [path, parameter] : result)
    if (parameter.parameter_state() != ParameterState::shown)
      parameter.set_parameter_state(ParameterState::shown);
  return result;
}

NamedTensors Module::named_buffers() {
  NamedTensors result;
  Walker walker;
  walker.each_buffer = [&](const std::string& path, Buffer& buffer) {
    result.emplace_back(path, buffer);
  };
  visit(walker);
  return result;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  std::unordered_set<const void*> known;
  Walker walker;
  walker.each_parameter = [&](const std::string&, Parameter& parameter) {
    if (known.insert(parameter.id()).second) count += parameter.numel();
  };
  visit(walker);
  return count;
}

NamedTensors Module::owned() {
  NamedTensors result;
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    result.emplace_back(path, parameter);
  };
  walker.each_buffer = [&](const std::string& path, Buffer& buffer) {
    result.emplace_back(path, buffer);
  };
  visit(walker);
  return result;
}

NamedTensors Module::state() {
  named_parameters();
  return owned();
}

namespace {

constexpr std::string_view kBatchCount = "num_batches_tracked";

/// The values by the names that they have here; problems, where two get one name.
std::map<std::string, Tensor> named_here(const NamedTensors& values, const LoadOptions& options,
                                         std::vector<std::string>& problems) {
  std::map<std::string, Tensor> given;
  for (const auto& [name, value] : values) {
    if (!name.starts_with(options.prefix)) continue;
    std::string here = name.substr(options.prefix.size());
    if (options.rename) here = options.rename(here);
    if (here.empty() && options.rename) continue;
    if (!given.emplace(here, value).second)
      problems.push_back(
          fmt::format("a name is given twice among {} values: {}", values.size(), here));
  }
  return given;
}

/// `value` in the other floating dtype; null if that does not hold its numbers.
Tensor cast_for(const Tensor& tensor, const Tensor& value) {
  Tensor result = raw::cast(value, tensor.dtype());
  const std::vector<double> before = value.to_vector<double>(), after = result.to_vector<double>();
  for (size_t i = 0; i < before.size(); ++i)
    if (std::isfinite(before[i]) && !std::isfinite(after[i])) return {};
  return result;
}

}  // namespace

std::function<void()> Module::prepare_load(const NamedTensors& values, const LoadOptions& options,
                                           IncompatibleKeys* keys) {
  std::vector<std::string> problems;
  std::map<std::string, Tensor> given = named_here(values, options, problems);
  NamedTensors own = state();
  IncompatibleKeys found;
  std::set<std::string_view> known;
  std::set<const void*> written;
  std::vector<detail::Loaded> loaded;
  for (const auto& [path, tensor] : own) {
    known.insert(path);
    const auto entry = given.find(path);
    if (entry == given.end()) {
      if (path == kBatchCount || path.ends_with("." + std::string(kBatchCount))) continue;
      found.missing.push_back(path);
      if (options.strict)
        problems.push_back(fmt::format("no value for {} {}", path, tensor.shape()));
      continue;
    }
    Tensor& value = entry->second;
    const bool casts = options.cast && is_floating(tensor.dtype()) && is_floating(value.dtype());
    if (value.shape() != tensor.shape() || (value.dtype() != tensor.dtype() && !casts)) {
      problems.push_back(fmt::format("{} is {} {} here, but {} {} is given", path, tensor.shape(),
                                     tensor.dtype(), value.shape(), value.dtype()));
      continue;
    }
    if (value.dtype() != tensor.dtype()) {
      Tensor cast = cast_for(tensor, value);
      if (!cast) {
        problems.push_back(
            fmt::format("{} is f32 here, which does not hold a number of the f64 "
                        "that is given",
                        path));
        continue;
      }
      value = std::move(cast);
    }
    raw::check_writable("load", tensor);
    written.insert(tensor.storage_id());
    loaded.push_back({path, tensor, value});
  }
  for (const auto& [path, value] : given) {
    if (known.contains(path)) continue;
    found.unexpected.push_back(path);
    if (options.strict)
      problems.push_back(fmt::format("{} {} is given, but {} has nothing of that name", path,
                                     value.shape(), describe()));
  }
  if (!problems.empty()) fail("load: {}", fmt::join(problems, "\n  "));
  detail::check_one_value("load", loaded);
  for (detail::Loaded& one : loaded)  // all that asks for memory, before anything is written
    if (!one.value.is_contiguous() || written.contains(one.value.storage_id()))
      one.value = raw::clone(one.value);
  for (const detail::Loaded& one : loaded)  // starts the threads that writing takes
    if (!one.tensor.is_contiguous()) raw::clone(one.tensor);
  if (keys) *keys = std::move(found);
  return [loaded = std::move(loaded)]() mutable {
    for (detail::Loaded& one : loaded) raw::copy(one.value, one.tensor);
  };
}

IncompatibleKeys Module::load_state(const NamedTensors& values, const LoadOptions& options) {
  IncompatibleKeys keys;
  prepare_load(values, options, &keys)();
  return keys;
}

void Module::save(const std::string& path) { save_tensors(path, state()); }
IncompatibleKeys Module::load(const std::string& path, const LoadOptions& options) {
  return load_state(load_tensors(path), options);
}

void Module::to(DType dtype) {
  check(is_floating(dtype), "to: parameters are f32 or f64, not {}", gradus::name(dtype));
  std::vector<std::pair<Tensor, Tensor>> changed;
  for (auto& [path, tensor] : owned())
    if (is_floating(tensor.dtype()) && tensor.dtype() != dtype)
      changed.emplace_back(tensor, raw::cast(tensor, dtype));
  for (auto& [tensor, values] : changed) tensor.set_data(values);
}

std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::vector<std::pair<std::string, Module*>> modules{{"", this}};
  std::unordered_set<const Module*> known{this};
  Walker walker;
  walker.each_module = [&](const std::string& path, std::string_view, Module& module) {
    if (known.insert(&module).second) modules.emplace_back(path, &module);
  };
  visit(walker);
  return modules;
}

namespace {

/// The parameters of a module alone that no gradient reaches.
class FrozenParameters : public Visitor {
 public:
  /// ", frozen" if they are all that it has, else with their names; empty if there are none.
  std::string text() const {
    if (frozen_.empty()) return {};
    return trains_ ? fmt::format(", frozen: {}", fmt::join(frozen_, ", ")) : ", frozen";
  }

 protected:
  void on_parameter(std::string_view name, Parameter& parameter) override {
    if (parameter.requires_grad())
      trains_ = true;
    else
      frozen_.emplace_back(name);
  }
  void on_buffer(std::string_view, Buffer&) override {}
  void on_module(std::string_view, Module&) override {}

 private:
  std::vector<std::string> frozen_;
  bool trains_ = false;
};

std::string line_of(Module& module) {
  FrozenParameters frozen;
  module.visit(frozen);
  return module.describe() + frozen.text();
}

}  // namespace

std::string Module::tree() {
  std::string text = line_of(*this);
  Walker walker;
  walker.each_module = [&](const std::string& path, std::string_view name, Module& module) {
    const auto depth = static_cast<size_t>(std::count(path.begin(), path.end(), '.') + 1);
    text += fmt::format("\n{:{}}{}: {}", "", 2 * depth, name, line_of(module));
  };
  visit(walker);
  return text;
}

}  // namespace gradus
