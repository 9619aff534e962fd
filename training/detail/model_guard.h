#pragma once
#include <gradus/layers/batch_norm.h>

namespace gradus::detail {

/// Puts a model back when it ends: its modules' modes, and the buffers and observers that it was
/// told of. Whatever asks for memory comes before the first change, so that a model is as it was
/// also where memory is refused.
class ModelGuard {
 public:
  using Observer = std::function<void(const BatchStatistics&)>;

  explicit ModelGuard(Module& model);
  ~ModelGuard();
  ModelGuard(const ModelGuard&) = delete;
  ModelGuard& operator=(const ModelGuard&) = delete;

  /// Each module once.
  const std::vector<std::pair<std::string, Module*>>& modules() const { return modules_; }
  /// In the end `buffer` has the elements that it has here.
  void keep(const Tensor& buffer);
  /// In the end `buffer` gets these elements, not those that were kept.
  void put(const Tensor& buffer, Tensor values) noexcept;
  /// From begin() on `norm` tells the other observer.
  void listen(BatchNorm& norm, Observer other);
  /// Changes modes, to training(module, whether it did), and observers.
  template <class F>
  void begin(F training) noexcept {
    for (size_t i = 0; i < modules_.size(); ++i)
      modules_[i].second->set_training(training(*modules_[i].second, trained_[i]));
    swap_observers();
  }

 private:
  struct Kept {
    Tensor buffer, values;
    uint32_t version;  // of the buffer, if it holds them
  };
  struct Listening {
    BatchNorm* norm;
    Observer other;  // the one that is to tell, then the one that did
  };
  void swap_observers() noexcept;

  std::vector<std::pair<std::string, Module*>> modules_;
  std::vector<bool> trained_;
  std::vector<Kept> kept_;
  std::vector<Listening> listening_;
  bool begun_ = false;
};

}  // namespace gradus::detail
