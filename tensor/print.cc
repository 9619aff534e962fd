#include <fmt/format.h>
#include <gradus/tensor/tensor.h>

#include <algorithm>
#include <cmath>
#include <ostream>

namespace gradus {

namespace {

constexpr int64_t kMaxPrinted = 1000, kEdge = 3;

/// How the numbers of one tensor are written: all alike, so that columns line up.
class NumberFormat {
 public:
  NumberFormat(DType dtype, int digits) : dtype_(dtype), digits_(digits) {}

  /// Learns from a value that will be printed.
  void see(double x) {
    if (!std::isfinite(x)) return;
    whole_ &= x == std::trunc(x) && std::fabs(x) < 1e15;
    const double size = std::fabs(x);
    if (size > 0) smallest_ = std::min(smallest_, size);
    largest_ = std::max(largest_, size);
  }
  std::string operator()(double x) const {
    if (dtype_ == DType::boolean) return x != 0 ? "true" : "false";
    if (!std::isfinite(x)) return fmt::format("{}", x);
    if (whole_) return fmt::format("{:.0f}.", x);
    const bool fixed = largest_ < 1e8 && largest_ < 1000 * smallest_ && smallest_ >= 1e-4;
    return fixed ? fmt::format("{:.{}f}", x, digits_) : fmt::format("{:.{}e}", x, digits_);
  }

 private:
  DType dtype_;
  int digits_;
  bool whole_ = true;
  double smallest_ = INFINITY, largest_ = 0;
};

/// Walks the printed part of a tensor and writes it down.
class Printer {
 public:
  Printer(const Tensor& x, int digits)
      : x_(x), shortened_(x.numel() > kMaxPrinted), number_(x.dtype(), digits) {
    walk(0, 0, [&](int64_t k) { number_.see(value(k)); });
    walk(0, 0, [&](int64_t k) { width_ = std::max(width_, text_of(k).size()); });
  }
  std::string text() {
    write(0, 0);
    return fmt::format("tensor({}, {})", out_,
                       x_.numel() == 0 ? fmt::format("{} {}", x_.shape(), x_.dtype())
                                       : fmt::format("{}", x_.dtype()));
  }

 private:
  double value(int64_t k) const {
    return dispatch(x_.dtype(),
                    [&]<class T>() { return static_cast<double>(x_.strided_data<T>()[k]); });
  }
  std::string text_of(int64_t k) const {
    return x_.dtype() == DType::i64 ? fmt::format("{}", x_.strided_data<int64_t>()[k])
                                    : number_(value(k));
  }
  /// Calls f(i) for the printed indices of an axis and gap() between the first and the last ones.
  template <class F, class Gap>
  void along(int axis, F f, Gap gap) const {
    const int64_t n = x_.numel() == 0 ? 0 : x_.shape()[axis];
    const bool skip = shortened_ && n > 2 * kEdge;
    for (int64_t i = 0; i < n; ++i) {
      if (skip && i == kEdge) {
        gap();
        i = n - kEdge;
      }
      f(i);
    }
  }
  template <class F>
  void walk(int axis, int64_t place, F f) const {
    if (axis == x_.ndim()) return f(place);
    along(
        axis, [&](int64_t i) { walk(axis + 1, place + i * x_.strides()[axis], f); }, [] {});
  }
  void write(int axis, int64_t place) {
    if (axis == x_.ndim()) {
      out_ += fmt::format("{:>{}}", text_of(place), width_);
      return;
    }
    const int inner = x_.ndim() - axis - 1;
    const std::string separator =
        inner == 0 ? ", " : fmt::format(",{:\n<{}}{:{}}", "", inner, "", 8 + axis);
    bool first = true;
    out_ += '[';
    along(
        axis,
        [&](int64_t i) {
          if (!std::exchange(first, false)) out_ += separator;
          write(axis + 1, place + i * x_.strides()[axis]);
        },
        [&] { out_ += separator + (inner == 0 ? " ..." : "..."); });
    out_ += ']';
  }

  const Tensor x_;
  const bool shortened_;
  NumberFormat number_;
  size_t width_ = 0;
  std::string out_;
};

}  // namespace

std::string str(const Shape& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.ndim() == 1 ? "," : "");
}

std::string str(const Tensor& x, int digits) { return x ? Printer(x, digits).text() : "tensor()"; }

std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << str(x); }
std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << str(shape); }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }

}  // namespace gradus
