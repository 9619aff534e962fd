#pragma once
#include <gradus/base/error.h>

#include <cstddef>
#include <cstdint>

namespace gradus {

/// f32 and f64 carry gradients; i64 is for indices and labels, boolean for masks.
enum class DType : uint8_t { f32, f64, i64, boolean };

/// Bytes of an element.
constexpr size_t size_of(DType dtype) {
  return dtype == DType::f32 ? 4 : dtype == DType::boolean ? 1 : 8;
}
/// "f32", "f64", "i64", "bool", in DType's order.
inline constexpr const char* kDTypeNames[] = {"f32", "f64", "i64", "bool"};
constexpr const char* name(DType dtype) { return kDTypeNames[static_cast<int>(dtype)]; }
/// Whether it carries gradients: f32 or f64.
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// The dtype of a C++ type: float, double, int64_t or bool.
template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<int64_t> = DType::i64;
template <>
inline constexpr DType dtype_of<bool> = DType::boolean;

/// Calls `f.operator()<T>()` with the C++ type of `dtype`.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::i64:
      return f.template operator()<int64_t>();
    case DType::boolean:
      break;
  }
  return f.template operator()<bool>();
}

/// The same for f32 and f64; any other dtype is an error that names `op`.
template <class F>
decltype(auto) dispatch_floating(DType dtype, const char* op, F&& f) {
  if (!is_floating(dtype)) [[unlikely]]
    fail("{}: needs f32 or f64, got {}; cast(x, DType::f32) first", op, name(dtype));
  return dtype == DType::f32 ? f.template operator()<float>() : f.template operator()<double>();
}

}  // namespace gradus

template <>
struct fmt::formatter<gradus::DType> : fmt::formatter<fmt::string_view> {
  auto format(gradus::DType dtype, format_context& context) const -> format_context::iterator;
};
