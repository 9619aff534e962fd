#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/sample.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/gradcheck.h>

namespace gradus {

Dropout::Dropout(double p) : p_(p) {
  check(p >= 0 && p <= 1, "Dropout: the probability {} does not lie in [0, 1]", p);
}

Tensor Dropout::forward(const Tensor& x) {
  const ErrorContext where(name());
  return training() ? dropout(x, p_) : x;
}

std::string Dropout::describe() const { return fmt::format("Dropout({})", p_); }

static ModuleRow dropout_row("Dropout", [] {
  return std::vector{module_sample("in training", Dropout(0.4), sample({3, 5}, 1))};
});

}  // namespace gradus
