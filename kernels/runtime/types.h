#pragma once
// What kernels are compiled for.

#include <cstdint>
#include <tuple>

// X(T, ...) for each type of numbers with a gradient, and for each type there is.
#define GRADUS_FOR_FLOATING(X, ...) X(float, __VA_ARGS__) X(double, __VA_ARGS__)
#define GRADUS_FOR_ALL(X, ...) \
  GRADUS_FOR_FLOATING(X, __VA_ARGS__) X(int64_t, __VA_ARGS__) X(bool, __VA_ARGS__)

// At the end of a kernel's source, the functions that others call: GRADUS_INSTANTIATE(sum<T>,
// max<T>) compiles them for each floating T, GRADUS_INSTANTIATE_ALL for each type. That their
// addresses are kept is what makes the compiler write them out. Once a source, and for names that
// are not overloaded.
#define GRADUS_INSTANTIATE(...) \
  GRADUS_FOR_FLOATING(GRADUS_KEEP_ADDRESSES, floating_instances, __VA_ARGS__)
#define GRADUS_INSTANTIATE_ALL(...) \
  GRADUS_FOR_ALL(GRADUS_KEEP_ADDRESSES, all_instances, __VA_ARGS__)
#define GRADUS_KEEP_ADDRESSES(Type, scope, ...)                             \
  namespace scope##_##Type {                                                \
    using T = Type;                                                         \
    [[gnu::used]] constexpr auto kAddresses = std::make_tuple(__VA_ARGS__); \
  }
