#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace gradus::kernels {

/// Whether kernel, stride, padding and dilation are small enough that no window's place overflows.
inline bool within_reach(std::initializer_list<int64_t> values) {
  return std::max(values) <= int64_t{1} << 31;
}

}  // namespace gradus::kernels
