#pragma once
#include <gradus/base/error.h>
#include <gradus/base/formatter.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <tuple>
#include <type_traits>

namespace gradus {

/// f32 and f64 carry gradients; i64 is for indices, labels and counts, boolean for masks.
enum class DType : uint8_t { f32, f64, i64, boolean };

namespace detail {

template <class Element_>
struct DTypeRow {
  using Element = Element_;
  const char* name;
  const char* file_name;  // in safetensors files
};
/// What a dtype is, in DType's order.
inline constexpr std::tuple kDTypes{DTypeRow<float>{"f32", "F32"}, DTypeRow<double>{"f64", "F64"},
                                    DTypeRow<int64_t>{"i64", "I64"},
                                    DTypeRow<bool>{"bool", "BOOL"}};
inline constexpr size_t kDTypeCount = std::tuple_size_v<decltype(kDTypes)>;

/// f(row) for the dtype's row.
template <size_t index = 0, class F>
constexpr decltype(auto) with_row(DType dtype, F&& f) {
  if constexpr (index + 1 < kDTypeCount)
    if (dtype != static_cast<DType>(index)) return with_row<index + 1>(dtype, f);
  return f(std::get<index>(kDTypes));
}

template <class T, size_t index = 0>
constexpr DType find_dtype() {
  static_assert(index < kDTypeCount, "a tensor's elements are float, double, int64_t or bool");
  if constexpr (std::is_same_v<T, typename std::tuple_element_t<index, decltype(kDTypes)>::Element>)
    return static_cast<DType>(index);
  else
    return find_dtype<T, index + 1>();
}

}  // namespace detail

/// Calls `f.operator()<T>()` with the C++ type of `dtype`.
template <class F>
constexpr decltype(auto) dispatch(DType dtype, F&& f) {
  return detail::with_row(dtype, [&]<class Row>(const Row&) -> decltype(auto) {
    return f.template operator()<typename Row::Element>();
  });
}

/// Bytes of an element.
constexpr size_t size_of(DType dtype) {
  return dispatch(dtype, []<class T>() { return sizeof(T); });
}
/// "f32", "f64", "i64", "bool"
constexpr const char* name(DType dtype) {
  return detail::with_row(dtype, [](const auto& row) { return row.name; });
}
/// Prints its name.
std::ostream& operator<<(std::ostream& out, DType dtype);
/// Whether it carries gradients: f32 or f64.
constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// The dtype of a C++ type: float, double, int64_t or bool.
template <class T>
inline constexpr DType dtype_of = detail::find_dtype<T>();

/// What a tensor can be made from and read as: float, double, bool, and every integer type.
template <class T>
concept Element = std::same_as<T, float> || std::same_as<T, double> ||
    (std::integral<T> && sizeof(T) <= 8);
/// The type that holds T's values in a tensor: int64_t for integers.
template <Element T>
using StoredElement = std::conditional_t<std::integral<T> && !std::same_as<T, bool>, int64_t, T>;

/// The same for f32 and f64; any other dtype is an error that names `op`.
template <class F>
decltype(auto) dispatch_floating(DType dtype, const char* op, F&& f) {
  if (!is_floating(dtype)) [[unlikely]]
    fail("{}: needs f32 or f64, got {}; cast(x, DType::f32) first", op, name(dtype));
  return dtype == DType::f32 ? f.template operator()<float>() : f.template operator()<double>();
}

/// The same for f32, f64 and i64.
template <class F>
decltype(auto) dispatch_numbers(DType dtype, const char* op, F&& f) {
  if (dtype == DType::i64) return f.template operator()<int64_t>();
  return dispatch_floating(dtype, op, f);
}

}  // namespace gradus

template <>
struct fmt::formatter<gradus::DType> : gradus::TextFormatter {
  auto format(gradus::DType dtype, format_context& context) const {
    return write(gradus::name(dtype), context);
  }
};
