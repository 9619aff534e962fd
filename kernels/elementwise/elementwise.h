#pragma once
#include <gradus/kernels/elementwise/functors.h>
#include <gradus/kernels/elementwise/table.h>
#include <gradus/kernels/runtime/isa.h>
#include <gradus/kernels/runtime/threads.h>

#include <cstddef>
#include <cstdint>

// Results never overlap the inputs, but where said. Strides count elements.
namespace gradus::kernels {

/// y = f(x)   x, y: (n), which may be the same
template <class F, class T>
void unary(const F& f, int64_t n, const T* x, T* y) {
  constexpr int index = functions::index_of<F>(functions::Unary{});
  const auto kernel = kernels<ElementwiseKernels<T>>().unary[index];
  parallel_for(n, kFunctionGrain,
               [&](int64_t begin, int64_t end) { kernel(&f, end - begin, x + begin, y + begin); });
}

/// dx = f.gradient(dy, kept), kept being what F::needs says   dy, kept, dx: (n)
template <class F, class T>
void unary_backward(const F& f, int64_t n, const T* dy, const T* kept, T* dx) {
  constexpr int index = functions::index_of<F>(functions::Unary{});
  const auto kernel = kernels<ElementwiseKernels<T>>().unary_backward[index];
  parallel_for(n, kFunctionGrain, [&](int64_t begin, int64_t end) {
    kernel(&f, end - begin, dy + begin, kept + begin, dx + begin);
  });
}

/// How two operands repeat or stride under a contiguous result of `sizes`.
struct BroadcastLayout {
  int ndim;
  int64_t sizes[8], a_strides[8], b_strides[8];
};

/// The same for a condition and two operands.
struct WhereLayout {
  int ndim;
  int64_t sizes[8], c_strides[8], a_strides[8], b_strides[8];
};

template <class T>
void broadcast(const BroadcastLayout& layout, typename ElementwiseKernels<T>::Binary kernel,
               const T* a, const T* b, T* y);

/// y = F(a, b)   y: layout.sizes
template <class F, class T>
void binary_broadcast(const BroadcastLayout& layout, const T* a, const T* b, T* y) {
  constexpr int index = functions::index_of<F>(functions::Binary{});
  broadcast<T>(layout, kernels<ElementwiseKernels<T>>().binary[index], a, b, y);
}

/// y_i = F(a[i stride_a], b[i stride_b])   y: (n)
template <class F, class T>
void binary(int64_t n, const T* a, int64_t stride_a, const T* b, int64_t stride_b, T* y) {
  constexpr int index = functions::index_of<F>(functions::Binary{});
  const auto kernel = kernels<ElementwiseKernels<T>>().binary[index];
  const bool direct = (stride_a == 0 || stride_a == 1) && (stride_b == 0 || stride_b == 1);
  if (!direct) return broadcast<T>({1, {n}, {stride_a}, {stride_b}}, kernel, a, b, y);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    kernel({1, end - begin, 0, stride_a, 0, stride_b}, a + begin * stride_a, b + begin * stride_b,
           y + begin);
  });
}

/// y = F(a, b) of int64_t, modulo 2^64, or of bool, where the sum is "or" and the product "and".
/// F: in functions::OfIntegers   y: layout.sizes
template <class F, class T>
void integers(const BroadcastLayout& layout, const T* a, const T* b, T* y);

/// The exponents up to this size that are products.
constexpr int kLargestIntegerPower = 8;

/// y = x^n by squaring and multiplying, of a negative n the reciprocal of x^-n, in wider numbers
/// where T does not hold that; |n| up to kLargestIntegerPower.   x, y: (count)
template <class T>
void integer_power(int64_t count, int n, const T* x, T* y);

/// dx = dy n x^(n - 1), likewise, |n - 1| up to kLargestIntegerPower   dy, x, dx: (count)
template <class T>
void integer_power_backward(int64_t count, int n, const T* dy, const T* x, T* dx);

/// y += x   (n)
template <class T>
void accumulate(int64_t n, const T* x, T* y) {
  const auto kernel = kernels<ElementwiseKernels<T>>().accumulate;
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { kernel(end - begin, x + begin, y + begin); });
}

/// y += value   (n)
template <class T>
void add_value(int64_t n, T value, T* y) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] += value;
  });
}

/// x *= alpha   (n)
template <class T>
void scale(int64_t n, T alpha, T* x) {
  const auto kernel = kernels<ElementwiseKernels<T>>().scale;
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { kernel(end - begin, alpha, x + begin); });
}

/// y = c ? factor x : 0   (n)
template <class T>
void scale_where(int64_t n, const bool* c, T factor, const T* x, T* y) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = c[i] ? factor * x[i] : T(0);
  });
}

/// y = value   (n)
template <class T>
void fill(int64_t n, T value, T* y) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = value;
  });
}

/// y = x in another type, as static_cast converts; to bool: x != 0   (n)
template <class From, class To>
void cast(int64_t n, const From* x, To* y) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<To>(x[i]);
  });
}

enum class Compare { less, less_equal, greater, greater_equal, equal, not_equal };

/// y = a op b, for all types; only not_equal holds for NaN   y: layout.sizes
template <class T>
void compare(Compare op, const BroadcastLayout& layout, const T* a, const T* b, bool* y);

/// y = c ? a : b, for all types   y: layout.sizes
template <class T>
void where(const WhereLayout& layout, const bool* c, const T* a, const T* b, T* y);

/// Copies a strided x of elements of `size` (1, 4 or 8) bytes into a contiguous y.
void copy_strided(size_t size, int ndim, const int64_t* sizes, const char* x,
                  const int64_t* x_strides, char* y);
/// Copies a contiguous x into a strided y.
void copy_to_strided(size_t size, int ndim, const int64_t* sizes, const char* x, char* y,
                     const int64_t* y_strides);

}  // namespace gradus::kernels
