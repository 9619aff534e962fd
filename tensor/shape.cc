#include <gradus/tensor/shape.h>

#include <algorithm>

namespace gradus {

int64_t Shape::place_from_end(int64_t i) const {
  check(i < 0 && i >= -ndim_, "Shape: there is no size {} of {}", i, *this);
  return i + ndim_;
}

int64_t Shape::numel_of_many() const {
  check(std::find(begin(), end(), 0) != end(), "Shape: {} are too many elements", *this);
  return 0;
}

Shape Shape::inserted(int i, int64_t size) const {
  check(i >= 0 && i <= ndim_, "Shape: nothing can be put in at {} of {}", i, *this);
  Shape result(std::span(begin(), static_cast<size_t>(i)));
  result.push_back(size);
  for (int j = i; j < ndim_; ++j) result.push_back(sizes_[j]);
  return result;
}

Shape Shape::erased(int i) const {
  check(i >= 0 && i < ndim_, "Shape: there is no size {} of {}", i, *this);
  Shape result;
  for (int j = 0; j < ndim_; ++j) {
    if (j != i) result.push_back(sizes_[j]);
  }
  return result;
}

int normalize_axis(const char* op, int64_t axis, int ndim) {
  const int axes = std::max(1, ndim);
  check(axis >= -axes && axis < axes, "{}: axis {} is out of range for {} dimensions", op, axis,
        ndim);
  return static_cast<int>(axis < 0 ? axis + axes : axis);
}

std::array<bool, Shape::kMaxDims> axis_flags(const char* op, const Axes& axes, int ndim) {
  std::array<bool, Shape::kMaxDims> flags{};
  if (axes.ndim() == 0) flags.fill(true);
  for (int64_t axis : axes) {
    bool& flag = flags[normalize_axis(op, axis, ndim)];
    check(!flag, "{}: axis {} is named twice", op, axis);
    flag = true;
  }
  return flags;
}

Shape unravel(int64_t k, const Shape& shape) {
  check(k >= 0 && k < shape.numel(), "unravel: there is no element {} of shape {}", k, shape);
  Shape index = shape;
  for (int i = shape.ndim() - 1; i >= 0; --i) {
    index[i] = k % shape[i];
    k /= shape[i];
  }
  return index;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const int ndim = std::max(a.ndim(), b.ndim());
  Shape result;
  for (int i = 0; i < ndim; ++i) {
    const int ia = i - (ndim - a.ndim()), ib = i - (ndim - b.ndim());
    const int64_t sa = ia < 0 ? 1 : a[ia], sb = ib < 0 ? 1 : b[ib];
    check(sa == sb || sa == 1 || sb == 1,
          "{}: shapes {} and {} do not broadcast: {} against {} in dimension {} from the end", op,
          a, b, sa, sb, ndim - i);
    result.push_back(sa == 1 ? sb : sa);
  }
  return result;
}

}  // namespace gradus
