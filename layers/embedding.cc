#include <gradus/autograd/ops/index.h>
#include <gradus/layers/embedding.h>

namespace gradus {

Embedding::Embedding(int64_t count, int64_t dim) {
  check(count > 0 && dim > 0, "Embedding: {} vectors of {}", count, dim);
  weight = Parameter(empty({count, dim}));
  finish_construction();
}

Tensor Embedding::forward(const Tensor& indices) {
  const ErrorContext where(name());
  return embedding(weight, indices);
}

void Embedding::visit(Visitor& visitor) { visitor.parameter("weight", weight, Init::normal(1)); }

std::string Embedding::describe() const {
  return fmt::format("Embedding({}, {})", weight.size(0), weight.size(1));
}

}  // namespace gradus
