#pragma once
#include <type_traits>

namespace gradus::kernels {
namespace {

/// f(flag...), each as a std::bool_constant: what is known at run time alone picks one of loops
/// that are compiled for each.
template <class F>
inline auto with_flags(F f) {
  return f();
}
template <class F, class... Flags>
inline auto with_flags(F f, bool flag, Flags... others) {
  const auto with = [&](auto known) {
    return with_flags([&](auto... rest) { return f(known, rest...); }, others...);
  };
  return flag ? with(std::true_type{}) : with(std::false_type{});
}

}  // namespace
}  // namespace gradus::kernels
