#pragma once
#include <gradus/autograd/ops/pool.h>
#include <gradus/layers/module.h>

namespace gradus {

/// The largest value of each window (see max_pool2d).
class MaxPool2d : public UnaryModule {
 public:
  /// Windows of kernel x kernel, or {height, width}.
  explicit MaxPool2d(Pair kernel, Pool2dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return max_pool2d(x, kernel_, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("MaxPool2d({})", str(kernel_)); }

 private:
  Pair kernel_;
  Pool2dOptions options_;
};

/// The mean of each window (see avg_pool2d).
class AvgPool2d : public UnaryModule {
 public:
  /// Windows of kernel x kernel, or {height, width}.
  explicit AvgPool2d(Pair kernel, Pool2dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return avg_pool2d(x, kernel_, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AvgPool2d({})", str(kernel_)); }

 private:
  Pair kernel_;
  Pool2dOptions options_;
};

/// Means over a grid of windows, whatever the image's size (see
/// adaptive_avg_pool2d).
class AdaptiveAvgPool2d : public UnaryModule {
 public:
  /// y: (N, C, size, size), or (N, C, H', W') of {H', W'}
  explicit AdaptiveAvgPool2d(Pair size) : size_(size) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return adaptive_avg_pool2d(x, size_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AdaptiveAvgPool2d({})", str(size_)); }

 private:
  Pair size_;
};

/// The largest value of each window along one axis (see max_pool1d).
class MaxPool1d : public UnaryModule {
 public:
  /// Windows of `kernel` steps.
  explicit MaxPool1d(int64_t kernel, Pool1dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return max_pool1d(x, kernel_, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("MaxPool1d({})", kernel_); }

 private:
  int64_t kernel_;
  Pool1dOptions options_;
};

/// The mean of each window along one axis (see avg_pool1d).
class AvgPool1d : public UnaryModule {
 public:
  /// Windows of `kernel` steps.
  explicit AvgPool1d(int64_t kernel, Pool1dOptions options = {})
      : kernel_(kernel), options_(options) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return avg_pool1d(x, kernel_, options_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AvgPool1d({})", kernel_); }

 private:
  int64_t kernel_;
  Pool1dOptions options_;
};

/// Means over `size` windows along one axis, whatever its size (see adaptive_avg_pool1d).
class AdaptiveAvgPool1d : public UnaryModule {
 public:
  /// y: (N, C, size)
  explicit AdaptiveAvgPool1d(int64_t size) : size_(size) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return adaptive_avg_pool1d(x, size_);
  }
  void visit(Visitor&) override {}
  std::string describe() const override { return fmt::format("AdaptiveAvgPool1d({})", size_); }

 private:
  int64_t size_;
};

}  // namespace gradus
