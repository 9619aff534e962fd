#pragma once
#include <gradus/autograd/ops/pool.h>
#include <gradus/layers/module.h>

namespace gradus {

/// The largest value of each square window (see max_pool2d).
class MaxPool2d : public UnaryModule {
 public:
  /// Windows of kernel x kernel.
  explicit MaxPool2d(int64_t kernel, Pool2dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return max_pool2d(x, {kernel_, kernel_}, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("MaxPool2d({})", kernel_); }

 private:
  int64_t kernel_;
  Pool2dOptions options_;
};

/// The mean of each square window (see avg_pool2d).
class AvgPool2d : public UnaryModule {
 public:
  /// Windows of kernel x kernel.
  explicit AvgPool2d(int64_t kernel, Pool2dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return avg_pool2d(x, {kernel_, kernel_}, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AvgPool2d({})", kernel_); }

 private:
  int64_t kernel_;
  Pool2dOptions options_;
};

/// Means over a grid of `size` x `size` windows, whatever the image's size (see
/// adaptive_avg_pool2d).
class AdaptiveAvgPool2d : public UnaryModule {
 public:
  /// y: (N, C, size, size)
  explicit AdaptiveAvgPool2d(int64_t size) : size_(size) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return adaptive_avg_pool2d(x, {size_, size_});
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AdaptiveAvgPool2d({})", size_); }

 private:
  int64_t size_;
};

}  // namespace gradus
