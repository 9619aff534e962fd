#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/tensor/detail/broadcast.h>

#include <cmath>
#include <limits>
#include <optional>

namespace gradus {

namespace {

using kernels::Compare;

Tensor compare(const char* op, Compare comparison, const Tensor& a, const Tensor& b) {
  check_same_dtype(op, a, b);
  const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
  Tensor y = empty(shape, DType::boolean);
  dispatch(a.dtype(), [&]<class T>() {
    kernels::compare<T>(comparison, broadcast_layout(a, b, shape), a.strided_data<T>(),
                        b.strided_data<T>(), y.mutable_data<bool>());
  });
  return y;
}

/// Whether a dtype has the number, or one to which it rounds that is neither 0 nor infinite.
template <class T>
bool has_number(double b) {
  if constexpr (std::is_floating_point_v<T>)
    return b == 0 || !std::isfinite(b) ||
           (std::isfinite(static_cast<T>(b)) && static_cast<T>(b) != 0);
  else if constexpr (std::is_same_v<T, bool>)
    return b == 0 || b == 1;
  else
    return b == std::trunc(b) && b >= -0x1p63 && b < 0x1p63;
}

/// The largest number below one that the dtype has not.
template <class T>
std::optional<T> largest_below(double b) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>)
    return std::abs(b) < 1 ? (b > 0 ? T(0) : -Limits::denorm_min())
                           : (b > 0 ? Limits::max() : -Limits::infinity());
  else if (b >= static_cast<double>(Limits::max()))
    return Limits::max();
  else if (b >= static_cast<double>(Limits::min()))
    return static_cast<T>(std::floor(b));
  return {};  // NaN, too
}

/// As mathematics has it, also for a number that the dtype has not: that is between its neighbours,
/// and equal to none. f32 has the numbers that round to one of its own.
Tensor compare(const char* op, Compare comparison, const Tensor& a, double b) {
  if (a.dtype() == DType::i64 && std::abs(b) <= 0x1p63 && b == std::trunc(b))
    check_number(op, b, DType::i64);  // may be another integer, rounded
  return dispatch(a.dtype(), [&]<class T>() {
    const bool rising = comparison == Compare::less || comparison == Compare::less_equal,
               ordered = comparison != Compare::equal && comparison != Compare::not_equal;
    Tensor bound = empty({}, a.dtype());
    if (has_number<T>(b)) {
      *bound.mutable_data<T>() = static_cast<T>(b);
    } else if (const std::optional<T> below = ordered ? largest_below<T>(b) : std::nullopt) {
      *bound.mutable_data<T>() = *below;
      comparison = rising ? Compare::less_equal : Compare::greater;
    } else {
      const bool falling = ordered && !rising && !std::isnan(b);
      return full(a.shape(), comparison == Compare::not_equal || falling, DType::boolean);
    }
    return compare(op, comparison, a, bound);
  });
}

void check_boolean(const char* op, const Tensor& x) {
  check(x.dtype() == DType::boolean, "{}: needs bool, got {}", op, name(x.dtype()));
}

/// Whether an element of a boolean x equals `value`.
bool contains(const char* op, const Tensor& x, bool value) {
  check_boolean(op, x);
  const Tensor values = raw::contiguous(x);
  return x.numel() > 0 && std::memchr(values.bytes(), value, static_cast<size_t>(x.numel()));
}

}  // namespace

Tensor less(const Tensor& a, const Tensor& b) { return compare("less", Compare::less, a, b); }
Tensor less(const Tensor& a, double b) { return compare("less", Compare::less, a, b); }
Tensor less_equal(const Tensor& a, const Tensor& b) {
  return compare("less_equal", Compare::less_equal, a, b);
}
Tensor less_equal(const Tensor& a, double b) {
  return compare("less_equal", Compare::less_equal, a, b);
}
Tensor greater(const Tensor& a, const Tensor& b) {
  return compare("greater", Compare::greater, a, b);
}
Tensor greater(const Tensor& a, double b) { return compare("greater", Compare::greater, a, b); }
Tensor greater_equal(const Tensor& a, const Tensor& b) {
  return compare("greater_equal", Compare::greater_equal, a, b);
}
Tensor greater_equal(const Tensor& a, double b) {
  return compare("greater_equal", Compare::greater_equal, a, b);
}
Tensor equal(const Tensor& a, const Tensor& b) { return compare("equal", Compare::equal, a, b); }
Tensor equal(const Tensor& a, double b) { return compare("equal", Compare::equal, a, b); }
Tensor not_equal(const Tensor& a, const Tensor& b) {
  return compare("not_equal", Compare::not_equal, a, b);
}
Tensor not_equal(const Tensor& a, double b) {
  return compare("not_equal", Compare::not_equal, a, b);
}

Tensor logical_and(const Tensor& a, const Tensor& b) {
  check_boolean("logical_and", a);
  check_boolean("logical_and", b);
  return where(a, b, full({}, false, DType::boolean));
}

Tensor logical_or(const Tensor& a, const Tensor& b) {
  check_boolean("logical_or", a);
  check_boolean("logical_or", b);
  return where(a, full({}, true, DType::boolean), b);
}

Tensor logical_not(const Tensor& a) {
  check_boolean("logical_not", a);
  return equal(a, 0);
}

bool any(const Tensor& a) { return contains("any", a, true); }
bool all(const Tensor& a) { return !contains("all", a, false); }

bool all_finite(const Tensor& x) {
  if (!is_floating(x.dtype())) return true;
  const Tensor values = raw::contiguous(x);
  return dispatch_floating(x.dtype(), "all_finite", [&]<class T>() {
    return kernels::all_finite(x.numel(), values.data<T>());
  });
}

}  // namespace gradus
