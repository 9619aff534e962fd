#pragma once
#include <gradus/gradcheck/samples.h>

#include <utility>

namespace gradus {

/// Samples of several shapes for an op of two broadcasting tensors.
inline std::vector<OpSample> broadcast_samples(Tensor (*f)(const Tensor&, const Tensor&),
                                               double low_a, double high_a, double low_b,
                                               double high_b) {
  std::vector<OpSample> samples;
  const std::pair<Shape, Shape> shapes[] = {
      {{3, 4}, {3, 4}}, {{3, 4}, {4}}, {{5, 1}, {3, 1, 4}}, {{2, 3, 1, 4}, {3, 2, 1}}, {{}, {3}}};
  for (const auto& [a, b] : shapes)
    samples.push_back({str(a) + " with " + str(b),
                       {sample(a, 1, low_a, high_a), sample(b, 2, low_b, high_b)},
                       [f](std::span<const Tensor> x) { return f(x[0], x[1]); }});
  return samples;
}

}  // namespace gradus
