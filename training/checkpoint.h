#pragma once
#include <gradus/layers/module.h>
#include <gradus/optim/lbfgs.h>
#include <gradus/optim/optimizer.h>
#include <gradus/tensor/random.h>

#include <functional>
#include <string>
#include <vector>

namespace gradus {

namespace detail {
struct Loaded;
}

/// All that a training goes on from, in one file:
///
///   int64_t step = 0;
///   Checkpoint checkpoint;
///   checkpoint.add("model", model).add("optimizer", optimizer).add("step", step)
///       .add("generator", default_generator());
///   if (std::filesystem::exists(path)) checkpoint.load(path);
///   for (; step < steps; checkpoint.save(path)) ...
///
/// A training that was killed and loads its checkpoint ends with the same bits as one that was not,
/// if everything that it changes from step to step was added: a DataLoader's place is the numbers
/// of its epoch and batch, a Schedule's is its step. Whether modules train or are evaluated is not
/// kept.
///
/// What is added must outlive the checkpoint. Errors of add(): a name that is empty, has a dot, or
/// is there already, or that no file could hold, and a tensor whose elements share memory, as
/// expanded ones do: what was saved could not be loaded.
class Checkpoint {
 public:
  /// Parameters and buffers, "<name>.<path>" in the file.
  Checkpoint& add(std::string name, Module& module);
  /// What Optimizer::state() is, "<name>.<key>".
  Checkpoint& add(std::string name, Optimizer& optimizer);
  Checkpoint& add(std::string name, Lbfgs& optimizer);
  /// Seed, stream and position (i64, (3)).
  Checkpoint& add(const std::string& name, Generator& generator);
  /// A tensor, which keeps its shape and dtype.
  Checkpoint& add(const std::string& name, Tensor& tensor);
  /// A number or a flag, as Tensor::from() takes it (i64, f32, f64 or bool, ()).
  template <Element T>
  Checkpoint& add(const std::string& name, T& value) {
    return add_value(
        name, [&value] { return Tensor::from(std::span<const T>(&value, 1), {}); },
        [&value](const Tensor& x) -> std::function<void()> {
          const T given = x.to_vector<T>()[0];
          return [&value, given] { value = given; };
        });
  }
  /// Numbers, of which there may be more from step to step (f64, (n)).
  Checkpoint& add(const std::string& name, std::vector<double>& values);

  /// Writes everything, in the format of the path's ending; see save_tensors(). Errors: as add(),
  /// and a number that i64 does not hold.
  void save(const std::string& path) const;
  /// Brings everything back. Errors: those of load_tensors(), values that are missing, that are of
  /// nothing here, or that do not fit, and several for what is one tensor; then, and where memory
  /// is refused, nothing changes.
  void load(const std::string& path);

 private:
  struct Part {
    std::string name;
    std::function<NamedTensors()> get;
    /// Whatever may fail about setting these values; what it returns does the rest, and asks for no
    /// memory.
    std::function<std::function<void()>(const NamedTensors&)> prepare;
    bool gets_handles = false;  ///< to the tensors that will be set, not copies
  };
  Checkpoint& add_part(Part part);
  Checkpoint& add_value(const std::string& name, const std::function<Tensor()>& get,
                        const std::function<std::function<void()>(const Tensor&)>& prepare,
                        bool gets_handles = false);
  std::vector<detail::Loaded> handles(const NamedTensors& values) const;

  std::vector<Part> parts_;
};

}  // namespace gradus
