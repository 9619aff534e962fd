#pragma once
#include <gradus/base/error.h>
#include <gradus/base/formatter.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace gradus {

/// Up to 8 integers held in place: the sizes of a tensor's dimensions (a scalar has none).
class Shape {
 public:
  static constexpr int kMaxDims = 8;  ///< the most dimensions

  Shape() = default;
  /// These sizes; more than 8 are an error.
  Shape(std::initializer_list<int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const int64_t> sizes) : ndim_(static_cast<int>(sizes.size())) {
    (check)(sizes.size() <= kMaxDims, "Shape: more than {} dimensions", kMaxDims);
    for (int i = 0; i < ndim_; ++i) sizes_[i] = sizes[static_cast<size_t>(i)];
  }
  /// How many sizes.
  int ndim() const { return ndim_; }
  /// Size i; a negative i counts from the end. Out of range is an error.
  int64_t operator[](int64_t i) const& { return sizes_[place(i)]; }
  int64_t& operator[](int64_t i) & { return sizes_[place(i)]; }
  /// The sizes in their order; not of a temporary, which would end before them.
  const int64_t* begin() const& { return sizes_; }
  const int64_t* end() const& { return sizes_ + ndim_; }
  const int64_t* begin() const&& = delete;
  const int64_t* end() const&& = delete;
  /// The last size; of no sizes an error.
  int64_t back() const { return (*this)[ndim_ - 1]; }

  /// How many elements a tensor of this shape has: the product of the sizes, 1 of none. One that
  /// 64 bits do not hold is an error.
  int64_t numel() const {
    int64_t n = 1;
    bool overflow = false;
    for (int64_t size : *this) overflow |= __builtin_mul_overflow(n, size, &n);
    return overflow ? numel_of_many() : n;
  }
  /// One more size at the end; a ninth is an error.
  void push_back(int64_t size) {
    (check)(ndim_ < kMaxDims, "Shape: more than {} dimensions", kMaxDims);
    sizes_[ndim_++] = size;
  }
  /// This shape with `size` put in before position i, or without position i, which must be there.
  Shape inserted(int i, int64_t size) const;
  Shape erased(int i) const;

  /// Whether both have the same sizes in the same order.
  bool operator==(const Shape& other) const {
    if (ndim_ != other.ndim_) return false;
    for (int i = 0; i < ndim_; ++i) {
      if (sizes_[i] != other.sizes_[i]) return false;
    }
    return true;
  }

 private:
  int64_t place(int64_t i) const {
    return static_cast<uint64_t>(i) < static_cast<uint64_t>(ndim_) ? i : place_from_end(i);
  }
  int64_t place_from_end(int64_t i) const;
  int64_t numel_of_many() const;

  int64_t sizes_[kMaxDims] = {};
  int ndim_ = 0;
};

/// A short list of axis numbers; negative ones count from the end. An integer is one axis.
class Axes : public Shape {
 public:
  using Shape::Shape;
  template <std::integral T>
  requires(!std::same_as<T, bool>) Axes(T axis) : Shape{static_cast<int64_t>(axis)} {}  ///< one
};

/// "(3, 4)", "(5,)", "()": what fmt and streams print for a shape.
std::string str(const Shape& shape);
std::ostream& operator<<(std::ostream& out, const Shape& shape);

/// `axis` as 0 .. ndim-1; out of range is an error that names `op`. A scalar counts as a vector of
/// one element: its axes 0 and -1 are 0.
int normalize_axis(const char* op, int64_t axis, int ndim);

/// Which of `ndim` axes are in `axes`; no axes at all means every one. A repeated axis is an error.
std::array<bool, Shape::kMaxDims> axis_flags(const char* op, const Axes& axes, int ndim);

/// The index of element k, in row-major order, of a tensor of this shape, which must have it.
Shape unravel(int64_t k, const Shape& shape);

/// The shape both broadcast to by NumPy's rule; an error that names `op` where they do not.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

}  // namespace gradus

template <>
struct fmt::formatter<gradus::Shape> : gradus::TextFormatter {
  auto format(const gradus::Shape& shape, format_context& context) const {
    return write(gradus::str(shape), context);
  }
};
template <>
struct fmt::formatter<gradus::Axes> : fmt::formatter<gradus::Shape> {};
