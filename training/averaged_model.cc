#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/tape.h>
#include <gradus/training/averaged_model.h>

#include <utility>
#include <vector>

namespace gradus {

void detail::update_average(Module& average, Module& model, std::optional<double> decay,
                            int64_t n_averaged) {
  const NoRecord pause;
  std::vector<std::pair<Tensor, Tensor>> changes;  // what becomes what
  const auto each = [&](const NamedTensors& to, const NamedTensors& from, auto value) {
    check(to.size() == from.size(), "AveragedModel: {} has {} tensors, the average {}",
          model.describe(), from.size(), to.size());
    for (size_t i = 0; i < to.size(); ++i) {
      const auto& [path, old] = to[i];
      const auto& [its_path, fresh] = from[i];
      check(path == its_path && old.shape() == fresh.shape() && old.dtype() == fresh.dtype(),
            "AveragedModel: {} {} {} of the model is {} {} {} of the average", its_path,
            fresh.shape(), fresh.dtype(), path, old.shape(), old.dtype());
      raw::check_writable("AveragedModel", old);
      changes.emplace_back(old, value(old, fresh));
    }
  };
  const double share = decay ? 1 - *decay : 1 / static_cast<double>(n_averaged + 1);
  each(average.named_parameters(), model.named_parameters(),
       [&](const Tensor& old, const Tensor& fresh) {
         return n_averaged == 0 ? raw::clone(fresh) : old + share * (fresh - old);
       });
  each(average.named_buffers(), model.named_buffers(),
       [](const Tensor&, const Tensor& fresh) { return raw::clone(fresh); });
  for (auto& [to, values] : changes) raw::copy(values, to);  // nothing fails from here on
}

}  // namespace gradus
