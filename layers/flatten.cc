#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/flatten.h>
#include <gradus/layers/gradcheck.h>

namespace gradus {

Tensor Flatten::forward(const Tensor& x) {
  const ErrorContext where(name());
  return flatten(x, first_, last_);
}

static ModuleRow flatten_row("Flatten", [] {
  return std::vector{module_sample("all but the batch", Flatten(), sample({2, 3, 4}, 1)),
                     module_sample("0 to -2", Flatten(0, -2), sample({2, 3, 4}, 1))};
});

}  // namespace gradus
