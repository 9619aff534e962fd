#pragma once
#include <gradus/tensor/tensor.h>

namespace gradus {

/// Comparisons, element by element: they broadcast, take any one dtype and give booleans; they have
/// no gradient. A number need not be one that the dtype has: arange(3) < 1.5, arange(3) < inf and
/// zeros({1}) < 1e-60 are as in mathematics. Within f32's range it is rounded as f32's own numbers
/// were, so that full({1}, 0.1) equals 0.1. Of i64 an integer of 2^53 or more is given in a tensor.
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, double b);
Tensor less_equal(const Tensor& a, double b);
Tensor greater(const Tensor& a, double b);
Tensor greater_equal(const Tensor& a, double b);
Tensor equal(const Tensor& a, double b);
Tensor not_equal(const Tensor& a, double b);

/// As less, less_equal, greater and greater_equal.
inline Tensor operator<(const Tensor& a, const Tensor& b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return greater_equal(a, b); }
inline Tensor operator<(const Tensor& a, double b) { return less(a, b); }
inline Tensor operator<=(const Tensor& a, double b) { return less_equal(a, b); }
inline Tensor operator>(const Tensor& a, double b) { return greater(a, b); }
inline Tensor operator>=(const Tensor& a, double b) { return greater_equal(a, b); }

/// And, or, not of booleans, element by element; the first two broadcast.
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& a);
/// The same. `!x` and `x && y` ask whether there are tensors.
inline Tensor operator&(const Tensor& a, const Tensor& b) { return logical_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return logical_or(a, b); }
inline Tensor operator~(const Tensor& a) { return logical_not(a); }
/// Whether any, or every, element is true.
bool any(const Tensor& a);
bool all(const Tensor& a);
/// Whether every element is finite.
bool all_finite(const Tensor& x);

}  // namespace gradus
