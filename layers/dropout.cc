#include <gradus/autograd/ops/dropout.h>
#include <gradus/layers/dropout.h>

namespace gradus {

Dropout::Dropout(double p) : p_(p) {
  check(p >= 0 && p <= 1, "Dropout: the probability {} does not lie in [0, 1]", p);
}

Tensor Dropout::forward(const Tensor& x) {
  const ForwardScope scope(*this);
  return training() ? dropout(x, p_) : x;
}

std::string Dropout::describe() const { return fmt::format("Dropout({})", p_); }

}  // namespace gradus
