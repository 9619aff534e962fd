#include <gradus/gradcheck/samples.h>
#include <gradus/layers/linear.h>

namespace gradus {

static ModuleSamples linear_row("Linear", [] {
  return std::vector{
      module_sample("(4, 5)", Linear(5, 3), sample({4, 5}, 1)),
      module_sample("(4, 5) relu", Linear(5, 3, {.activation = Activation::relu}),
                    sample({4, 5}, 1)),
      module_sample("(2, 3, 5) without bias", Linear(5, 4, {.bias = false}), sample({2, 3, 5}, 1))};
});

}  // namespace gradus
