#pragma once
#include <gradus/tensor/random.h>

#include <cmath>
#include <optional>

namespace gradus {

/// How a parameter's first values are drawn.
struct Init {
  /// Of distribution.
  enum class Kind { constant, uniform, normal };
  Kind kind;     ///< which
  double scale;  ///< the constant; the bound of the interval (-scale, scale); the deviation
  std::optional<int64_t> zero_row = {};  ///< a row, of the first axis, that is 0 whatever is drawn

  /// One value for all.
  static Init constant(double value) { return {Kind::constant, value, {}}; }
  static Init zeros() { return constant(0); }
  static Init ones() { return constant(1); }
  /// U(-bound, bound)
  static Init uniform(double bound) { return {Kind::uniform, bound, {}}; }
  /// N(0, deviation^2)
  static Init normal(double deviation) { return {Kind::normal, deviation, {}}; }

  /// He et al. 2015, section 2.2: variance gain^2 / fan_in; the gain is sqrt(2) for relu.
  static Init kaiming_uniform(int64_t fan_in, double gain = std::sqrt(2.0)) {
    return uniform(gain * std::sqrt(3.0 / static_cast<double>(fan_in)));
  }
  static Init kaiming_normal(int64_t fan_in, double gain = std::sqrt(2.0)) {
    return normal(gain / std::sqrt(static_cast<double>(fan_in)));
  }
  /// Glorot & Bengio 2010, section 4.2.1: variance 2 gain^2 / (fan_in + fan_out).
  static Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain = 1) {
    return uniform(gain *
                   std::sqrt(6.0 / (static_cast<double>(fan_in) + static_cast<double>(fan_out))));
  }
  static Init xavier_normal(int64_t fan_in, int64_t fan_out, double gain = 1) {
    return normal(gain *
                  std::sqrt(2.0 / (static_cast<double>(fan_in) + static_cast<double>(fan_out))));
  }
  /// PyTorch's default for Linear and Conv2d, weight and bias: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
  static Init fan_in_uniform(int64_t fan_in) {
    return uniform(1 / std::sqrt(static_cast<double>(fan_in)));
  }

  /// Overwrites x's elements with values drawn from `generator`. An error unless bound and
  /// deviation are finite and not negative, and x has the row that shall be 0.
  void draw(Tensor& x, Generator& generator) const;
};

}  // namespace gradus
