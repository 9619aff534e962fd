#pragma once
#include <gradus/tensor/tensor.h>

// For operands that an op may do without: an empty Tensor stands for none.
namespace gradus {

template <class T>
const T* pointer(const Tensor& x) {
  return x ? x.data<T>() : nullptr;
}
template <class T>
T* pointer(Tensor& x) {
  return x ? x.mutable_data<T>() : nullptr;
}

inline Tensor contiguous_or_none(const Tensor& x) { return x ? raw::contiguous(x) : Tensor(); }

}  // namespace gradus
