#pragma once
#include <gradus/autograd/ops/resample.h>
#include <gradus/layers/module.h>

namespace gradus {

/// Images of another size (see interpolate).
class Upsample : public UnaryModule {
 public:
  /// To the size, or by the scale, that the options have: Upsample({.scale = 2}).
  explicit Upsample(InterpolateOptions options) : options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return interpolate(x, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override;

 private:
  InterpolateOptions options_;
};

}  // namespace gradus
