#pragma once
#include <gradus/layers/module.h>

namespace gradus {

/// Axes first .. last become one; by default all but the batch's. x: (N, C, H, W)   y: (N, C H W)
class Flatten : public UnaryModule {
 public:
  /// Negative axes count from the end.
  explicit Flatten(int64_t first = 1, int64_t last = -1) : first_(first), last_(last) {}
  Tensor forward(const Tensor& x) override;
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("Flatten({}, {})", first_, last_); }

 private:
  int64_t first_, last_;
};

}  // namespace gradus
