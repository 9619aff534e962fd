#include <gradus/autograd/ops/elementwise.h>
#include <gradus/layers/norm.h>

namespace gradus {

Tensor NoNorm::forward(const Tensor& x, const Tensor&) {
  return activation_ == Activation::relu ? relu(x) : x;
}

std::string NoNorm::describe() const {
  return activation_ == Activation::relu ? "NoNorm(relu)" : "NoNorm";
}

}  // namespace gradus
