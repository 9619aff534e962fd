#include <gradus/tensor/tensor.h>

#include <cstdlib>
#include <vector>

namespace gradus {

namespace {

/// The first and the last byte that hold x's elements, as distances from `origin`.
struct Range {
  int64_t first, last;
};
Range range_of(const Tensor& x, const char* origin) {
  const auto bytes = static_cast<int64_t>(size_of(x.dtype()));
  Range range{x.strided_bytes() - origin, x.strided_bytes() - origin + bytes - 1};
  for (int i = 0; i < x.ndim(); ++i) {
    const int64_t reach = (x.shape()[i] - 1) * x.strides()[i] * bytes;
    (reach < 0 ? range.first : range.last) += reach;
  }
  return range;
}

/// visit(offset of each of x's elements from its first) until one returns true; whether one did.
template <class Visit>
bool any_place(const Tensor& x, Visit visit) {
  int64_t at[Shape::kMaxDims] = {}, offset = 0;
  for (int64_t k = 0; k < x.numel(); ++k) {
    if (visit(offset)) return true;
    for (int i = x.ndim() - 1; i >= 0; --i) {
      offset += x.strides()[i];
      if (++at[i] < x.shape()[i]) break;
      offset -= x.shape()[i] * x.strides()[i];
      at[i] = 0;
    }
  }
  return false;
}

/// Which places of a range, in elements, are taken.
class Places {
 public:
  Places(const Range& range, size_t bytes)
      : first_(range.first), bytes_(static_cast<int64_t>(bytes)) {
    taken_.resize(static_cast<size_t>((range.last - range.first + 1) / bytes_));
  }
  /// Takes the place of the element that lies so many bytes from the origin; whether it was taken.
  bool take(int64_t at) {
    const auto place = static_cast<size_t>((at - first_) / bytes_);
    const bool before = taken_[place];
    taken_[place] = true;
    return before;
  }
  bool taken(int64_t at) const {
    const int64_t place = (at - first_) / bytes_;
    return at >= first_ && place < static_cast<int64_t>(taken_.size()) &&
           taken_[static_cast<size_t>(place)];
  }

 private:
  int64_t first_, bytes_;
  std::vector<bool> taken_;
};

bool overlaps_itself(const Tensor& x) {
  if (x.is_contiguous() || x.numel() == 0) return false;
  struct Axis {
    int64_t stride, size;
  } axes[Shape::kMaxDims];
  int count = 0;  // the shortest strides first
  for (int i = 0; i < x.ndim(); ++i) {
    if (x.shape()[i] <= 1) continue;
    const Axis axis{std::abs(x.strides()[i]), x.shape()[i]};
    int at = count++;
    for (; at > 0 && axes[at - 1].stride > axis.stride; --at) axes[at] = axes[at - 1];
    axes[at] = axis;
  }
  int64_t reach = 0;  // of the axes so far
  bool nested = true;
  for (int i = 0; i < count; ++i) {
    if (axes[i].stride == 0) return true;
    nested = nested && axes[i].stride > reach;
    reach += (axes[i].size - 1) * axes[i].stride;
  }
  if (nested) return false;                // as slices and permutations of a row-major tensor are
  if (x.numel() > reach + 1) return true;  // more elements than places
  Places places(range_of(x, x.strided_bytes()), size_of(x.dtype()));
  const auto bytes = static_cast<int64_t>(size_of(x.dtype()));
  return any_place(x, [&](int64_t offset) { return places.take(offset * bytes); });
}

}  // namespace

namespace raw {

void check_writable(const char* op, const Tensor& x) {
  if (!overlaps_itself(x)) [[likely]]
    return;
  fail(
      "{}: elements of {}{}{} {}, which lie {} apart, share memory, so none can be written alone; "
      "write to a clone",
      op, x.name(), x.name().empty() ? "shape " : " ", x.shape(), name(x.dtype()),
      str(Shape(std::span(x.strides(), static_cast<size_t>(x.ndim())))));
}

bool overlap(const Tensor& a, const Tensor& b) {
  if (!a.shares_storage(b) || a.numel() == 0 || b.numel() == 0) return false;
  const Range in_a = range_of(a, a.strided_bytes()), in_b = range_of(b, a.strided_bytes());
  if (in_a.last < in_b.first || in_b.last < in_a.first) return false;
  if (a.is_contiguous() && b.is_contiguous()) return true;
  const auto bytes = static_cast<int64_t>(size_of(a.dtype()));
  Places places(in_a, size_of(a.dtype()));
  any_place(a, [&](int64_t offset) {
    places.take(offset * bytes);
    return false;
  });
  const int64_t from_a = b.strided_bytes() - a.strided_bytes();
  return any_place(b, [&](int64_t offset) { return places.taken(from_a + offset * bytes); });
}

}  // namespace raw
}  // namespace gradus
