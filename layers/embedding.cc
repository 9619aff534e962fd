#include <gradus/autograd/ops/index.h>
#include <gradus/layers/embedding.h>

namespace gradus {

Embedding::Embedding(int64_t count, int64_t dim) {
  check(count > 0 && dim > 0, "Embedding: {} vectors of {}", count, dim);
  weight = Parameter({count, dim}, Init::normal(1));
}

Tensor Embedding::forward(const Tensor& indices) {
  const ForwardScope scope(*this);
  return embedding(weight, indices);
}

void Embedding::visit(Visitor& visitor) { visitor.parameter("weight", weight); }

std::string Embedding::describe() const {
  return fmt::format("Embedding({}, {})", weight.size(0), weight.size(1));
}

}  // namespace gradus
