#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/reduce/reduce.h>
#include <gradus/tensor/detail/broadcast.h>

#include <cmath>

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

Tensor compare(const char* op, Compare comparison, const Tensor& a, double b) {
  check(is_floating(a.dtype()) || b == std::trunc(b), "{}: {} is not a number of dtype {}", op, b,
        name(a.dtype()));
  return compare(op, comparison, a, full({}, b, a.dtype()));
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
