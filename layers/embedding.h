#pragma once
#include <gradus/layers/module.h>

#include <optional>

namespace gradus {

/// What an Embedding may have beside its table.
struct EmbeddingOptions {
  /// A row, negative from the end, that begins as 0 and gets no gradient: padding's.
  std::optional<int64_t> padding_idx = {};
};

/// y = weight[indices].  indices: (...) i64   weight: (count, dim)   y: (..., dim)
class Embedding : public UnaryModule {
 public:
  /// A table of `count` rows, drawn from N(0, 1).
  Embedding(int64_t count, int64_t dim, EmbeddingOptions options = {});
  Tensor forward(const Tensor& indices) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight;  ///< (count, dim)

 private:
  EmbeddingOptions options_;
};

}  // namespace gradus
