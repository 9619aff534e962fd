#pragma once
#include <gradus/base/error.h>
#include <gradus/layers/parameter.h>
#include <gradus/tensor/tensor_file.h>

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gradus {

class Checkpoint;
class Module;

/// How values that were saved elsewhere are loaded into a module.
struct LoadOptions {
  bool strict = true;       ///< whether each value needs a place here, and each tensor here a value
  bool cast = false;        ///< whether f64 becomes f32 where that is needed, and f32 f64
  std::string prefix = {};  ///< the values whose names begin with it, without it; not the others
  /// What a value of that name is called here; one whose new name is empty is left out.
  std::function<std::string(const std::string&)> rename = {};
};

/// What strict loading does not allow.
struct IncompatibleKeys {
  std::vector<std::string> missing;     ///< tensors here without a value, which stay as they were
  std::vector<std::string> unexpected;  ///< values without a place here
};

/// Is shown everything a module owns. Empty tensors (a bias that is left out) are not shown.
class Visitor {
 public:
  virtual ~Visitor() = default;
  /// What Module::visit calls for each parameter, ...
  void parameter(std::string_view name, Parameter& parameter) {
    if (parameter) on_parameter(name, parameter);
  }
  /// ... each buffer, ...
  void buffer(std::string_view name, Buffer& buffer) {
    if (buffer) on_buffer(name, buffer);
  }
  /// ... each child, ...
  void module(std::string_view name, Module& module) { on_module(name, module); }
  /// ... and each of a std::vector of children, of one type or held as Any, called `name`.0, ... as
  /// those of PyTorch's ModuleList.
  template <class Modules>
  void modules(const std::string& name, Modules& list) {
    size_t i = 0;
    for (auto& one : list) {
      const std::string called = name + '.' + std::to_string(i++);
      if constexpr (requires { module(called, one); })
        module(called, one);
      else
        module(called, *one);
    }
  }

 protected:
  /// Is shown what is there; does nothing by itself.
  virtual void on_parameter(std::string_view, Parameter&) {}
  virtual void on_buffer(std::string_view, Buffer&) {}
  virtual void on_module(std::string_view, Module&) {}
};

/// Stands at the beginning of a module's forward. While it lives, errors begin with the module's
/// path. If it is left by an exception, no forward below it has changed a buffer.
class ForwardScope {
 public:
  /// Of this module's forward.
  explicit ForwardScope(Module& module);
  ~ForwardScope();
  ForwardScope(const ForwardScope&) = delete;
  ForwardScope& operator=(const ForwardScope&) = delete;

  /// To be called by a forward before it changes a buffer: notes the elements, which an exception
  /// puts back.
  static void restore_on_error(const Buffer& buffer);

 private:
  friend class Module;
  void name_modules();
  std::string_view name_in_model();
  void end_notes();

  Module& module_;
  ForwardScope* outer_;
  Module& outermost_;
  ErrorContext context_;
  int exceptions_;  // under way when a buffer was noted
  size_t noted_;    // buffers, before this one
};

/// A layer or a model: tensors and modules it owns, listed once in visit(). A concrete module has a
/// `forward` that takes what it needs.
///
/// Copies are deep, and what is one tensor under two names is one in the copy, too. A copy
/// constructor of one's own that leaves out a part that visit shows begins with Module(), not with
/// Module(other). An assigned module goes by the name of the one that was there.
class Module {
 public:
  Module() = default;
  Module(const Module& other);                 ///< a copy
  Module(Module&& other) noexcept;             ///< what the other was
  Module& operator=(const Module& other);      ///< a copy in this one's place
  Module& operator=(Module&& other) noexcept;  ///< what the other was, in this one's place
  virtual ~Module();

  /// Shows parameters, buffers and children, each with its PyTorch name, in PyTorch's order. Two of
  /// one name, and names that no file could hold, are an error wherever names are asked for: at the
  /// first forward, by parameters(), ...
  virtual void visit(Visitor& visitor) = 0;

  /// Draws every parameter anew from the generator of (seed, the parameter's path): a parameter's
  /// values do not depend on which others there are. What has several paths goes by the first. If
  /// it fails, as below, nothing changes.
  void initialize(uint64_t seed);

  /// Whether it trains (at first) or is evaluated. An error for a module that trains in the forward
  /// of one that is evaluated and whose visit does not show it: eval() could not reach it.
  bool training() const {
    if (place_ == Place::hidden) [[unlikely]]
      check_mode();
    return training_;
  }
  /// Training or evaluation, here and in every child.
  void train(bool training = true);
  void eval() { train(false); }
  /// The same of this module alone, whatever is below it.
  void set_training(bool training) noexcept { training_ = training; }

  /// Nothing here and in the children trains any more, or all does again: parameters require no
  /// gradient and have none, so that optimizers leave them as they are, and a BatchNorm transforms
  /// by its running statistics and leaves them, too. train() does not undo it; a copy is frozen as
  /// well.
  void freeze(bool frozen = true);

  /// What an optimizer changes, of this module and its children; handles, not copies, each called
  /// by its path.
  std::vector<Tensor> parameters();
  /// The same, or the buffers, with their paths.
  NamedTensors named_parameters();
  NamedTensors named_buffers();
  /// This module, whose path is empty, and all below it, in their order; what has several paths
  /// goes by the first. To do something with each of a kind:
  ///
  ///   for (auto& [path, module] : model.named_modules())
  ///     if (auto* dropout = dynamic_cast<Dropout*>(module)) ...
  std::vector<std::pair<std::string, Module*>> named_modules();
  /// How many numbers the parameters are.
  int64_t parameter_count();

  /// Parameters and buffers by path, e.g. "layers.1.norm.running_mean"; handles, not copies.
  NamedTensors state();
  /// Copies values in; names, shapes and dtypes must be those of state(), and what is one tensor
  /// under several names must have one value, or nothing changes: the error lists all that does not
  /// fit. A BatchNorm's num_batches_tracked, which plain dictionaries of PyTorch may lack, stays as
  /// it is where it is not given.
  IncompatibleKeys load_state(const NamedTensors& values, const LoadOptions& options = {});
  /// state() in a file, and from one: see save_tensors().
  void save(const std::string& path);
  IncompatibleKeys load(const std::string& path, const LoadOptions& options = {});

  /// Parameters and floating buffers become f32 or f64 in place: handles to them stay valid.
  void to(DType dtype);

  /// What the parent calls this module; empty at the top.
  const std::string& name() const& { return name_; }
  std::string name() const&& { return name_; }
  /// One line for this module alone, e.g. "Linear(64, 10)".
  virtual std::string describe() const = 0;
  /// This module and its children as an indented list, which tells the parameters that are frozen,
  /// since they require no gradient.
  std::string tree();

 protected:
  /// What freeze() does to this module beside its parameters.
  virtual void on_freeze(bool) {}

 private:
  friend class Checkpoint;
  friend class ForwardScope;
  /// load_state() up to where nothing fails any more: what is returned does the rest.
  std::function<void()> prepare_load(const NamedTensors& values, const LoadOptions& options = {},
                                     IncompatibleKeys* keys = nullptr);
  /// Whether the outermost module of a forward shows it.
  enum class Place : uint8_t { unknown, shown, hidden };
  NamedTensors owned();
  void name_owned(Place place);
  void check_mode() const;

  std::string name_;
  std::atomic<Place> place_ = Place::unknown;
  bool training_ = true;
};

/// A module whose forward takes one tensor: what Sequential chains.
class UnaryModule : public Module {
 public:
  /// The module's function of x.
  virtual Tensor forward(const Tensor& x) = 0;
  /// forward(x) in a ForwardScope.
  Tensor operator()(const Tensor& x) {
    const ForwardScope scope(*this);
    return forward(x);
  }
};

}  // namespace gradus
