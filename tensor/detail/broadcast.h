#pragma once
#include <gradus/kernels/elementwise/elementwise.h>
#include <gradus/tensor/tensor.h>

namespace gradus {

/// x's stride along each dimension of the shape it broadcasts to, 0 where it repeats.
inline void broadcast_strides(const Tensor& x, const Shape& to, int64_t* strides) {
  const int leading = to.ndim() - x.ndim();
  for (int i = 0; i < to.ndim(); ++i)
    strides[i] = i < leading || x.shape()[i - leading] == 1 ? 0 : x.strides()[i - leading];
}

/// How the kernels walk over a and b, broadcast to `y`.
inline kernels::BroadcastLayout broadcast_layout(const Tensor& a, const Tensor& b, const Shape& y) {
  kernels::BroadcastLayout layout;
  layout.ndim = y.ndim();
  for (int i = 0; i < y.ndim(); ++i) layout.sizes[i] = y[i];
  broadcast_strides(a, y, layout.a_strides);
  broadcast_strides(b, y, layout.b_strides);
  return layout;
}

/// The same of integers and booleans, of which there is no difference; an error for other F.
template <class F>
Tensor integer_forward(const char* op, const Tensor& a, const Tensor& b) {
  check(a.dtype() != DType::boolean || !std::is_same_v<F, functions::Sub>,
        "{}: of bools; logical_not(a) is what is not in a, not_equal(a, b) where they differ", op);
  if constexpr (functions::is_in<F>(functions::OfIntegers{})) {
    const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
    Tensor y = empty(shape, a.dtype());
    const auto compute = [&]<class T>() {
      kernels::integers<F>(broadcast_layout(a, b, shape), a.strided_data<T>(), b.strided_data<T>(),
                           y.mutable_data<T>());
    };
    a.dtype() == DType::i64 ? compute.template operator()<int64_t>()
                            : compute.template operator()<bool>();
    return y;
  } else {
    return dispatch_floating(a.dtype(), op, []<class T>() { return Tensor(); });
  }
}

/// y = F(a, b), broadcast.
template <class F>
Tensor binary_forward(const char* op, const Tensor& a, const Tensor& b) {
  check_same_dtype(op, a, b);
  if (!is_floating(a.dtype())) [[unlikely]]
    return integer_forward<F>(op, a, b);
  const bool plain = a.shape() == b.shape() && a.is_contiguous() && b.is_contiguous();
  const Shape shape = plain ? a.shape() : broadcast_shapes(op, a.shape(), b.shape());
  return dispatch_floating(a.dtype(), op, [&]<class T>() {
    Tensor y = empty(shape, a.dtype());
    if (plain)
      kernels::binary<F>(y.numel(), a.data<T>(), 1, b.data<T>(), 1, y.mutable_data<T>());
    else
      kernels::binary_broadcast<F>(broadcast_layout(a, b, shape), a.strided_data<T>(),
                                   b.strided_data<T>(), y.mutable_data<T>());
    return y;
  });
}

}  // namespace gradus
