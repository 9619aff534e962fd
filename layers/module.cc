#include <gradus/layers/module.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_set>

namespace gradus {

namespace {

/// What is one tensor under several names in a module that is being copied.
struct Tied {
  Tensor source, copy;
  size_t names;
};

/// What a copy has yet to make one tensor of, by the names in the module that is copied.
std::map<const OwnedTensor*, std::shared_ptr<Tied>>& all_tied() {
  static thread_local std::map<const OwnedTensor*, std::shared_ptr<Tied>> tied;
  return tied;
}

/// Everything that a module and those below it own.
class AllOwned : public Visitor {
 public:
  std::map<const void*, std::vector<const OwnedTensor*>> by_tensor;

 protected:
  void on_parameter(std::string_view, Parameter& parameter) override { add(parameter); }
  void on_buffer(std::string_view, Buffer& buffer) override { add(buffer); }
  void on_module(std::string_view, Module& module) override { module.visit(*this); }

 private:
  void add(const OwnedTensor& x) {
    std::vector<const OwnedTensor*>& names = by_tensor[x.id()];
    if (std::find(names.begin(), names.end(), &x) == names.end()) names.push_back(&x);
  }
};

/// Notes what is tied in `module`, whose copying begins. A part of a module that is being copied
/// sees no more than its own share of what is tied there, which is known.
void note_tied(Module& module) {
  AllOwned all;
  module.visit(all);
  for (const auto& [id, names] : all.by_tensor) {
    if (names.size() < 2) continue;
    auto& tied = all_tied();
    const auto known = tied.find(names[0]);
    if (known != tied.end() && known->second->source.id() == id &&
        known->second->names > names.size())
      continue;
    const auto fresh = std::make_shared<Tied>(Tied{*names[0], {}, names.size()});
    for (const OwnedTensor* name : names) tied[name] = fresh;
  }
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

/// What x's copy has to be one tensor with; null if it is one by itself.
std::shared_ptr<Tied> take_tied(const OwnedTensor& x) {
  auto& tied = all_tied();
  const auto found = tied.find(&x);
  if (found == tied.end()) return nullptr;
  const std::shared_ptr<Tied> one = found->second;
  tied.erase(found);
  return one->source.is(x) ? one : nullptr;
}

Tensor tied_copy(const OwnedTensor& x) {
  const std::shared_ptr<Tied> one = take_tied(x);
  if (!one) return deep_copy(x);
  if (!one->copy) one->copy = deep_copy(x);
  return one->copy;
}

}  // namespace

OwnedTensor::OwnedTensor(const OwnedTensor& other) : Tensor(tied_copy(other)) {}

OwnedTensor& OwnedTensor::operator=(const OwnedTensor& other) {
  if (this == &other) return *this;
  const std::shared_ptr<Tied> one = take_tied(other);
  if (one && one->copy)
    static_cast<Tensor&>(*this) = one->copy;
  else if (*this && other)
    set_data(raw::clone(other));
  else
    static_cast<Tensor&>(*this) = deep_copy(other);
  if (one) one->copy = *this;
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
  switch (kind) {
    case Kind::constant:
      return raw::fill(x, scale, "Init");
    case Kind::uniform:
      return raw::copy(gradus::uniform(x.shape(), -scale, scale, generator, x.dtype()), x, "Init");
    case Kind::normal: {
      Tensor values = randn(x.shape(), generator, x.dtype());
      dispatch_floating(x.dtype(), "Init", [&]<class T>() {
        T* value = values.mutable_data<T>();
        for (int64_t i = 0; i < values.numel(); ++i) value[i] *= static_cast<T>(scale);
      });
      raw::copy(values, x, "Init");
    }
  }
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
    check(
        known_.insert(path).second,
        "visit: two things are called {}; each parameter, buffer and child needs a name of its own",
        path);
    return path;
  }
  std::string path_;
  std::unordered_set<std::string> known_;
};

std::mutex naming;  // of threads that ask the same model

void set_name(Tensor& x, std::string name) {
  if (x.name() != name) x.set_name(std::move(name));
}

[[gnu::tls_model("initial-exec")]] constinit thread_local ForwardScope* innermost = nullptr;

/// What an exception puts back.
struct Noted {
  Tensor buffer, values;
};
std::vector<Noted>& all_noted() {
  static thread_local std::vector<Noted> noted;
  return noted;
}
[[gnu::tls_model("initial-exec")]] constinit thread_local size_t noted_count = 0;

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
      outer_(innermost),
      outermost_(outer_ ? outer_->outermost_ : module),
      context_(name_in_model()),
      exceptions_(0),
      noted_(noted_count) {
  innermost = this;
}

ForwardScope::~ForwardScope() {
  innermost = outer_;
  if (noted_count == noted_) return;
  std::vector<Noted>& noted = all_noted();
  const bool failed = std::uncaught_exceptions() > exceptions_;
  if (!failed && outer_) return;
  while (noted.size() > noted_) {
    if (failed) noted.back().buffer.set_data(noted.back().values);  // whatever its shape is by now
    noted.pop_back();
  }
  noted_count = noted_;
}

void ForwardScope::restore_on_error(const Buffer& buffer) {
  if (!innermost) return;
  // As many as when the scopes began, and asked here, where they do not cost every forward.
  const int exceptions = std::uncaught_exceptions();
  for (ForwardScope* scope = innermost; scope; scope = scope->outer_)
    scope->exceptions_ = exceptions;
  all_noted().push_back({buffer, raw::clone(buffer)});
  noted_count = all_noted().size();
}

Module::Module(const Module& other) : name_(other.name_), training_(other.training_) {
  note_tied(const_cast<Module&>(other));
}

Module::Module(Module&& other) noexcept
    : name_(std::move(other.name_)), training_(other.training_) {}

Module& Module::operator=(const Module& other) {
  note_tied(const_cast<Module&>(other));
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
  const std::lock_guard lock(naming);
  const bool hidden = place == Place::hidden;  // then it goes by what it is
  if (hidden && name_.empty()) name_ = describe();
  const std::string prefix = hidden ? describe() + "." : "";
  std::unordered_set<const void*> known;
  Walker walker;
  walker.each_module = [&](const std::string&, std::string_view name, Module& module) {
    if (module.name_ != name) module.name_ = name;
    module.place_.store(place, std::memory_order_release);
  };
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    if (known.insert(parameter.id()).second) set_name(parameter, prefix + path);
  };
  visit(walker);
  place_.store(place, std::memory_order_release);
}

void Module::check_mode() const {
  check(!training_ || !innermost || innermost->outermost_.training_,
        "{} is in training where {}, whose visit does not show it, is evaluated; show it, so that "
        "eval() reaches it",
        describe(), innermost ? innermost->outermost_.describe() : "");
}

void Module::train(bool training) {
  for (const auto& [path, module] : named_modules()) module->set_training(training);
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
  const std::lock_guard lock(naming);
  walker.each_parameter = [&](const std::string& path, Parameter& parameter) {
    if (parameter.parameter_state() != ParameterState::shown)
      parameter.set_parameter_state(ParameterState::shown);
    if (known.insert(parameter.id()).second) result.emplace_back(path, parameter);
  };
  visit(walker);
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

void Module::load_state(const NamedTensors& values) {
  std::map<std::string, Tensor> given(values.begin(), values.end());
  check(given.size() == values.size(), "load: a name is given twice among {} values",
        values.size());
  NamedTensors own = state();
  std::set<const void*> written;
  for (const auto& [path, tensor] : own) {
    const auto value = given.find(path);
    check(value != given.end(), "load: no value for {} {}", path, tensor.shape());
    check(value->second.shape() == tensor.shape() && value->second.dtype() == tensor.dtype(),
          "load: {} is {} {} here, but {} {} is given", path, tensor.shape(),
          gradus::name(tensor.dtype()), value->second.shape(), gradus::name(value->second.dtype()));
    raw::check_writable("load", tensor);
    written.insert(tensor.storage_id());
  }
  for (const auto& [path, value] : given) {
    const bool known = std::any_of(own.begin(), own.end(), [&path = path](const auto& tensor) {
      return tensor.first == path;
    });
    check(known, "load: {} {} is given, but {} has nothing of that name", path, value.shape(),
          describe());
  }
  for (auto& [path, value] : given)  // all that asks for memory, before anything is written
    if (!value.is_contiguous() || written.contains(value.storage_id())) value = raw::clone(value);
  for (auto& [path, tensor] : own) raw::copy(given.at(path), tensor);
}

void Module::save(const std::string& path) { save_tensors(path, state()); }
void Module::load(const std::string& path) { load_state(load_tensors(path)); }

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
  Walker walker;
  walker.each_module = [&](const std::string& path, std::string_view, Module& module) {
    modules.emplace_back(path, &module);
  };
  visit(walker);
  return modules;
}

std::string Module::tree() {
  std::string text = describe();
  Walker walker;
  walker.each_module = [&](const std::string& path, std::string_view name, Module& module) {
    const auto depth = static_cast<size_t>(std::count(path.begin(), path.end(), '.') + 1);
    text += fmt::format("\n{:{}}{}: {}", "", 2 * depth, name, module.describe());
  };
  visit(walker);
  return text;
}

}  // namespace gradus
