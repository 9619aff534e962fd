#pragma once
#include <gradus/layers/init.h>
#include <gradus/layers/parameter.h>
#include <gradus/tensor/tensor_file.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gradus {

class Module;

/// Is shown everything a module owns. Empty tensors (a bias that is left out) are not shown.
class Visitor {
 public:
  virtual ~Visitor() = default;
  /// What Module::visit calls for each parameter, with how its first values are drawn, ...
  void parameter(std::string_view name, Parameter& parameter, const Init& init) {
    if (parameter) on_parameter(name, parameter, init);
  }
  /// ... each buffer, ...
  void buffer(std::string_view name, Buffer& buffer) {
    if (buffer) on_buffer(name, buffer);
  }
  /// ... and each child.
  void module(std::string_view name, Module& module) { on_module(name, module); }

 protected:
  /// Is shown what is there; does nothing by itself.
  virtual void on_parameter(std::string_view, Parameter&, const Init&) {}
  virtual void on_buffer(std::string_view, Buffer&) {}
  virtual void on_module(std::string_view, Module&) {}
};

/// A layer or a model: tensors and modules it owns, listed once in visit(). A concrete module has a
/// `forward` that takes what it needs. Copies are deep.
class Module {
 public:
  virtual ~Module() = default;

  /// Shows parameters, buffers and children, each with its PyTorch name, in PyTorch's order.
  virtual void visit(Visitor& visitor) = 0;

  /// Draws every parameter anew from the generator of (seed, the parameter's path): a parameter's
  /// values do not depend on which others there are.
  void initialize(uint64_t seed);

  /// Whether it trains (at first) or is evaluated.
  bool training() const { return training_; }
  /// Training or evaluation, here and in every child.
  void train(bool training = true);
  void eval() { train(false); }

  /// What an optimizer changes, of this module and its children; handles, not copies.
  std::vector<Tensor> parameters();
  /// The same, or the buffers, with their paths.
  NamedTensors named_parameters();
  NamedTensors named_buffers();
  /// How many numbers the parameters are.
  int64_t parameter_count();

  /// Parameters and buffers by path, e.g. "layers.1.norm.running_mean"; handles, not copies.
  NamedTensors state();
  /// Copies values in; names, shapes and dtypes must be those of state(), or nothing changes.
  void load_state(const NamedTensors& values);
  /// state() in a file, and from one: see save_tensors().
  void save(const std::string& path);
  void load(const std::string& path);

  /// Parameters and floating buffers become f32 or f64 in place: handles to them stay valid.
  void to(DType dtype);

  /// What the parent calls this module; empty at the top.
  const std::string& name() const& { return name_; }
  std::string name() const&& { return name_; }
  /// One line for this module alone, e.g. "Linear(64, 10)".
  virtual std::string describe() const = 0;
  /// This module and its children as an indented list.
  std::string tree();

 protected:
  /// For the end of a concrete module's constructor: names what it owns and draws first values from
  /// default_generator().
  void finish_construction();
  /// The naming alone.
  void name_owned();

 private:
  friend class ChildNames;
  std::string name_;
  bool training_ = true;
};

/// A module whose forward takes one tensor: what Sequential chains.
class UnaryModule : public Module {
 public:
  /// The module's function of x. Errors begin with the module's path.
  virtual Tensor forward(const Tensor& x) = 0;
  /// forward(x)
  Tensor operator()(const Tensor& x) { return forward(x); }
};

}  // namespace gradus
