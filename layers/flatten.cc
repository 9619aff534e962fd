#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/flatten.h>

namespace gradus {

Tensor Flatten::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return flatten(x, first_, last_);
}

}  // namespace gradus
