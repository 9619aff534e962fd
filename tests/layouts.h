#pragma once
#include <gradus/tensor/tensor.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

// Where the elements of a tensor may lie.
namespace gradus::test {

/// Memory in which what belongs to no element shows: NaN, or an index that is none.
inline Tensor poisoned(int64_t n, DType dtype) {
  Tensor memory = empty({n}, dtype);
  const bool floating = is_floating(dtype);
  raw::fill(memory, floating                  ? std::numeric_limits<double>::quiet_NaN()
                    : dtype == DType::boolean ? 1
                                              : 1e15);
  return memory;
}

/// Distances of x's elements; and whether some of them share memory, so that x gets other values:
/// of its own.
struct Layout {
  std::string name;
  std::vector<int64_t> strides;
  bool shared = false;
};

/// Strides of axes in the order from the innermost outwards, the innermost `step` apart and `gap`
/// elements between its runs.
inline std::vector<int64_t> strides_by(const Shape& shape, bool row_major, int64_t step,
                                       int64_t gap) {
  const auto n = static_cast<size_t>(shape.ndim());
  std::vector<int64_t> strides(n);
  int64_t stride = step;
  for (size_t k = 0; k < n; ++k) {
    const size_t axis = row_major ? n - 1 - k : k;
    strides[axis] = stride;
    stride = stride * shape[static_cast<int>(axis)] + (k == 0 ? gap : 0);
  }
  return strides;
}

/// Every kind of layout there is for this shape.
inline std::vector<Layout> layouts(const Shape& shape) {
  const auto n = static_cast<size_t>(shape.ndim());
  std::vector<Layout> all{{"contiguous", strides_by(shape, true, 1, 0)}};
  if (n == 0 || shape.numel() == 0) return all;
  all.push_back({"transposed", strides_by(shape, false, 1, 0)});
  all.push_back({"every second", strides_by(shape, true, 2, 0)});
  all.push_back({"rows apart", strides_by(shape, true, 1, 3)});
  all.push_back({"columns apart", strides_by(shape, false, 1, 2)});
  Layout odd{"odd strides along one element", all[0].strides};
  for (size_t i = 0; i < n; ++i)
    if (shape[static_cast<int>(i)] == 1) odd.strides[i] = i % 2 ? 0 : 11;
  all.push_back(odd);
  all.push_back({"one element repeated", std::vector<int64_t>(n, 0), true});
  all.push_back({"first axis expanded", all[0].strides, true});
  all.back().strides[0] = 0;
  all.push_back(
      {"last axis expanded", strides_by(shape.erased(shape.ndim() - 1), true, 1, 0), true});
  all.back().strides.push_back(0);
  all.push_back({"a window that slides", std::vector<int64_t>(n, 1), true});
  if (n > 1 && shape.back() > 1) {
    all.push_back({"rows that overlap", all[0].strides, true});
    for (size_t i = 0; i + 1 < n; ++i) all.back().strides[i] = shape.back() - 1;
  }
  return all;
}

/// A tensor of x's shape in memory of its own. Its values are x's or, where some share memory, the
/// first of x's: equal to those of a contiguous copy.
inline Tensor laid_out(const Tensor& x, const Layout& layout) {
  constexpr int64_t kBefore = 5, kBehind = 7;
  int64_t reach = 0;
  for (int i = 0; i < x.ndim(); ++i)
    reach += (x.shape()[i] - 1) * layout.strides[static_cast<size_t>(i)];
  Tensor memory = poisoned(kBefore + std::max<int64_t>(0, reach + 1) + kBehind, x.dtype());
  Tensor y = as_strided(memory, x.shape(), layout.strides, kBefore);
  if (!layout.shared) {
    raw::copy(x, y);
  } else {
    const int64_t one[] = {1};
    Tensor used = as_strided(memory, {reach + 1}, one, kBefore);
    const Tensor values = raw::clone(x);
    raw::copy(as_strided(values, {reach + 1}, one, 0), used);
  }
  return y;
}

}  // namespace gradus::test
