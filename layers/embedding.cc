#include <gradus/autograd/ops/index.h>
#include <gradus/layers/embedding.h>

namespace gradus {

Embedding::Embedding(int64_t count, int64_t dim, EmbeddingOptions options) : options_(options) {
  check(count > 0 && dim > 0, "Embedding: {} vectors of {}", count, dim);
  Init init = Init::normal(1);
  if (std::optional<int64_t>& row = options_.padding_idx) {
    check(*row >= -count && *row < count, "Embedding: padding_idx {} of {} vectors", *row, count);
    if (*row < 0) *row += count;
    init.zero_row = *row;
  }
  weight = Parameter({count, dim}, init);
}

Tensor Embedding::forward(const Tensor& indices) {
  const ForwardScope scope(*this);
  return embedding(weight, indices, options_.padding_idx);
}

void Embedding::visit(Visitor& visitor) { visitor.parameter("weight", weight); }

std::string Embedding::describe() const {
  const std::string padding =
      options_.padding_idx ? fmt::format(", padding_idx {}", *options_.padding_idx) : "";
  return fmt::format("Embedding({}, {}{})", weight.size(0), weight.size(1), padding);
}

}  // namespace gradus
