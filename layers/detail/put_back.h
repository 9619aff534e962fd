#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus::detail {

/// x's elements become these where they lie, for views of x; in memory of their own if they no
/// longer fit there, or if there is none to copy by.
inline void put_back(const Tensor& values, Tensor& x) noexcept {
  try {
    raw::copy(values, x);
  } catch (...) {
    x.set_data(values);
  }
}

}  // namespace gradus::detail
