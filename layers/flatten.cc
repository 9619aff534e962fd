#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/flatten.h>

namespace gradus {

Tensor Flatten::forward(const Tensor& x) {
  const ErrorContext where(name());
  return flatten(x, first_, last_);
}

}  // namespace gradus
