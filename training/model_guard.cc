#include <gradus/layers/detail/put_back.h>
#include <gradus/training/detail/model_guard.h>

namespace gradus::detail {

ModelGuard::ModelGuard(Module& model) : modules_(model.named_modules()) {
  for (const auto& [path, module] : modules_) trained_.push_back(module->training());
}

ModelGuard::~ModelGuard() {
  for (Kept& one : kept_)
    if (one.buffer.version() != one.version) put_back(one.values, one.buffer);
  if (!begun_) return;
  swap_observers();
  for (size_t i = 0; i < modules_.size(); ++i) modules_[i].second->set_training(trained_[i]);
}

void ModelGuard::keep(const Tensor& buffer) {
  kept_.push_back({buffer, raw::clone(buffer), buffer.version()});
}

void ModelGuard::put(const Tensor& buffer, Tensor values) noexcept {
  for (Kept& one : kept_)
    if (one.buffer.is(buffer)) {
      one.values = std::move(values);
      return;
    }
}

void ModelGuard::listen(BatchNorm& norm, Observer other) {
  listening_.push_back({&norm, std::move(other)});
}

void ModelGuard::swap_observers() noexcept {
  begun_ = true;
  for (Listening& one : listening_) one.norm->observer.swap(one.other);
}

}  // namespace gradus::detail
