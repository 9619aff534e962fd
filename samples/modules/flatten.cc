#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/flatten.h>

namespace gradus {

static ModuleSamples flatten_row("Flatten", [] {
  return std::vector{module_sample("all but the batch", Flatten(), sample({2, 3, 4}, 1)),
                     module_sample("0 to -2", Flatten(0, -2), sample({2, 3, 4}, 1))};
});

}  // namespace gradus
