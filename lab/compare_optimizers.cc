#include "lab/compare_optimizers.h"

#include <gradus/base/detail/named.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/sgd.h>

namespace gradus::lab {

namespace {

/// With what its options are by default, but for the learning rate.
template <class Method, class Options>
std::unique_ptr<Optimizer> plain(std::vector<Tensor> parameters, double lr) {
  return std::make_unique<Method>(std::move(parameters), Options{.lr = lr});
}

constexpr OptimizerRow kOptimizers[] = {
    {"adam", plain<Adam, AdamOptions>},
    {"adamw", plain<AdamW, AdamWOptions>},
    {"sgd",
     [](std::vector<Tensor> parameters, double lr) -> std::unique_ptr<Optimizer> {
       return std::make_unique<Sgd>(std::move(parameters), SgdOptions{.lr = lr, .momentum = 0.9});
     }},
    {"rmsprop", plain<Rmsprop, RmspropOptions>},
};

}  // namespace

std::span<const OptimizerRow> all_optimizers() { return kOptimizers; }
const OptimizerRow& find_optimizer(std::string_view name) {
  return detail::find("optimizer", kOptimizers, name);
}

}  // namespace gradus::lab
