#pragma once
#include <gradus/layers/module.h>

namespace gradus {

/// y = weight[indices].  indices: (...) i64   weight: (count, dim)   y: (..., dim)
class Embedding : public UnaryModule {
 public:
  /// A table of `count` rows, drawn from N(0, 1).
  Embedding(int64_t count, int64_t dim);
  Tensor forward(const Tensor& indices) override;
  void visit(Visitor& visitor) override;
  std::string describe() const override;

  Parameter weight;  ///< (count, dim)
};

}  // namespace gradus
