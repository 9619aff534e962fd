#pragma once
#include <cmath>
#include <cstdint>
#include <string_view>

namespace gradus::bench {

/// The i-th of a fixed sequence of numbers from [-1, 1), another for each seed: what every
/// contestant fills its tensors with.
inline float value(uint32_t seed, int64_t i) {
  uint32_t h = (static_cast<uint32_t>(i) + 1) * 2654435761u ^ seed * 2246822519u;
  h = (h ^ h >> 15) * 2246822519u;
  h ^= h >> 13;
  return static_cast<float>(h >> 8) * 0x1p-23f - 1;
}

/// Inputs have unit variance.
inline void fill_input(uint32_t seed, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::sqrt(3.0f) * value(seed, i);
}
inline void fill_labels(uint32_t seed, int64_t n, int64_t classes, int64_t* y) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<int64_t>((value(seed, i) + 1) / 2 * static_cast<float>(classes));
}

/// The first values of a model's `index`-th parameter: matrices and kernels within 1 / sqrt(fan
/// in), a norm's weights around 1.
inline void fill_parameter(uint32_t index, std::string_view name, int64_t ndim, int64_t rows,
                           int64_t n, float* x) {
  const bool around_one = name.ends_with("weight") && ndim != 2 && ndim != 4;
  const float bound = 1 / std::sqrt(static_cast<float>(n / rows));
  for (int64_t i = 0; i < n; ++i)
    x[i] = around_one ? 1 + 0.1f * value(index, i) : bound * value(index, i);
}

}  // namespace gradus::bench
