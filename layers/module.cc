#include <gradus/layers/module.h>

#include <algorithm>
#include <functional>
#include <map>

namespace gradus {

Tensor OwnedTensor::copy_of(const Tensor& x) {
  if (!x) return {};
  Tensor copy = raw::clone(x);
  copy.set_requires_grad(x.requires_grad());
  if (!x.name().empty()) copy.set_name(x.name());
  return copy;
}

OwnedTensor& OwnedTensor::operator=(const OwnedTensor& other) {
  if (this == &other) return *this;
  if (*this && other)
    set_data(raw::clone(other));
  else
    static_cast<Tensor&>(*this) = copy_of(other);
  return *this;
}

void Init::draw(Tensor& x, Generator& generator) const {
  check_number("Init", scale, x.dtype());
  check(kind == Kind::constant || (scale >= 0 && std::isfinite(scale)),
        "Init: a bound or deviation of {}; is there no input?", scale);
  switch (kind) {
    case Kind::constant:
      return raw::fill(x, scale);
    case Kind::uniform:
      return raw::copy(gradus::uniform(x.shape(), -scale, scale, generator, x.dtype()), x);
    case Kind::normal: {
      const Tensor unit = randn(x.shape(), generator, x.dtype());
      dispatch_floating(x.dtype(), "Init", [&]<class T>() {
        const T* from = unit.data<T>();
        T* to = x.mutable_data<T>();
        for (int64_t i = 0; i < x.numel(); ++i) to[i] = static_cast<T>(scale) * from[i];
      });
    }
  }
}

namespace {

/// Walks a module and its children, keeping the path.
class Walker : public Visitor {
 public:
  std::function<void(const std::string& path, Parameter&, const Init&)> each_parameter;
  std::function<void(const std::string& path, Buffer&)> each_buffer;
  std::function<void(const std::string& path, Module&)> each_module;

 protected:
  void on_parameter(std::string_view name, Parameter& parameter, const Init& init) override {
    if (each_parameter) each_parameter(path_to(name), parameter, init);
  }
  void on_buffer(std::string_view name, Buffer& buffer) override {
    if (each_buffer) each_buffer(path_to(name), buffer);
  }
  void on_module(std::string_view name, Module& module) override {
    const std::string outer = std::exchange(path_, path_to(name));
    if (each_module) each_module(path_, module);
    module.visit(*this);
    path_ = outer;
  }

 private:
  std::string path_to(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  }
  std::string path_;
};

}  // namespace

/// Tells each child its name.
class ChildNames : public Visitor {
 protected:
  void on_module(std::string_view name, Module& module) override { module.name_ = name; }
};

void Module::initialize(uint64_t seed) {
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter, const Init& init) {
    Generator generator(seed, path);
    init.draw(parameter, generator);
  };
  visit(walker);
}

void Module::name_owned() {
  ChildNames names;
  visit(names);
  Walker walker;
  walker.each_parameter = [](const std::string& path, Parameter& parameter, const Init&) {
    parameter.set_name(path);
  };
  visit(walker);
}

void Module::finish_construction() {
  name_owned();
  initialize(default_generator().uint64());
}

void Module::train(bool training) {
  training_ = training;
  Walker walker;
  walker.each_module = [&](const std::string&, Module& module) { module.training_ = training; };
  visit(walker);
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> result;
  for (auto& [name, parameter] : named_parameters()) result.push_back(parameter);
  return result;
}

NamedTensors Module::named_parameters() {
  NamedTensors result;
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter, const Init&) {
    const bool shared = std::any_of(result.begin(), result.end(),
                                    [&](const auto& known) { return known.second.is(parameter); });
    if (!shared) result.emplace_back(path, parameter);
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
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

NamedTensors Module::state() {
  NamedTensors result;
  Walker walker;
  walker.each_parameter = [&](const std::string& path, Parameter& parameter, const Init&) {
    result.emplace_back(path, parameter);
  };
  walker.each_buffer = [&](const std::string& path, Buffer& buffer) {
    result.emplace_back(path, buffer);
  };
  visit(walker);
  return result;
}

void Module::load_state(const NamedTensors& values) {
  const std::map<std::string, Tensor> given(values.begin(), values.end());
  NamedTensors own = state();
  for (const auto& [path, tensor] : own) {
    const auto value = given.find(path);
    check(value != given.end(), "load: no value for {} {}", path, tensor.shape());
    check(value->second.shape() == tensor.shape() && value->second.dtype() == tensor.dtype(),
          "load: {} is {} {} here, but {} {} is given", path, tensor.shape(),
          gradus::name(tensor.dtype()), value->second.shape(), gradus::name(value->second.dtype()));
  }
  for (const auto& [path, value] : given) {
    const bool known = std::any_of(own.begin(), own.end(), [&path = path](const auto& tensor) {
      return tensor.first == path;
    });
    check(known, "load: {} {} is given, but {} has nothing of that name", path, value.shape(),
          describe());
  }
  for (auto& [path, tensor] : own) raw::copy(given.at(path), tensor);
}

void Module::save(const std::string& path) { save_tensors(path, state()); }
void Module::load(const std::string& path) { load_state(load_tensors(path)); }

void Module::to(DType dtype) {
  check(is_floating(dtype), "to: parameters are f32 or f64, not {}", gradus::name(dtype));
  for (auto& [path, tensor] : state()) {
    if (is_floating(tensor.dtype()) && tensor.dtype() != dtype)
      Tensor(tensor).set_data(raw::cast(tensor, dtype));
  }
}

std::string Module::tree() {
  std::string text = describe();
  Walker walker;
  walker.each_module = [&](const std::string& path, Module& module) {
    const auto depth = static_cast<size_t>(std::count(path.begin(), path.end(), '.') + 1);
    text += fmt::format("\n{:{}}{}: {}", "", 2 * depth, module.name(), module.describe());
  };
  visit(walker);
  return text;
}

}  // namespace gradus
