#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/positions.h>

#include <cmath>

namespace gradus {

namespace {

/// Cosines and sines of (first + t) base^(-2i / features), each (steps, pairs).
std::pair<Tensor, Tensor> turns(int64_t first, int64_t steps, int64_t pairs, int64_t features,
                                double base, DType dtype) {
  Tensor cosines = empty({steps, pairs}, dtype), sines = empty({steps, pairs}, dtype);
  dispatch_floating(dtype, "positions", [&]<class T>() {
    T *cosine = cosines.mutable_data<T>(), *sine = sines.mutable_data<T>();
    for (int64_t i = 0; steps > 0 && i < pairs; ++i) {
      const double theta =
          std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(features));
      for (int64_t t = 0; t < steps; ++t) {
        const double angle = (static_cast<double>(first) + static_cast<double>(t)) * theta;
        cosine[t * pairs + i] = static_cast<T>(std::cos(angle));
        sine[t * pairs + i] = static_cast<T>(std::sin(angle));
      }
    }
  });
  return {cosines, sines};
}

constexpr double kBase = 10000;

}  // namespace

Tensor sinusoidal_positions(int64_t steps, int64_t dim, DType dtype) {
  check(steps >= 0 && dim > 0 && dim % 2 == 0,
        "sinusoidal_positions: {} steps of {} features, which must be pairs", steps, dim);
  const auto [cosines, sines] = turns(0, steps, dim / 2, dim, kBase, dtype);
  return flatten(stack({sines, cosines}, -1), 1);
}

Tensor rotary(const Tensor& x, int64_t first, double base) {
  check(x.ndim() >= 2 && x.ndim() < Shape::kMaxDims && x.shape().back() % 2 == 0,
        "rotary: x is {}, must be (..., T, D) with an even D", x.shape());
  check(first >= 0 && base > 0 && std::isfinite(base),
        "rotary: positions from {} on, to the base {}; the first is 0 or more, the base above 0",
        first, base);
  Shape in_pairs = x.shape();
  in_pairs[-1] /= 2;
  const auto [cosines, sines] =
      turns(first, x.size(-2), in_pairs.back(), x.size(-1), base, x.dtype());
  in_pairs.push_back(2);
  const Tensor pairs = reshape(x, in_pairs), a = select(pairs, -1, 0), b = select(pairs, -1, 1);
  return reshape(stack({a * cosines - b * sines, a * sines + b * cosines}, -1), x.shape());
}

}  // namespace gradus
