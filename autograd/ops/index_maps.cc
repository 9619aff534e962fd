#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/index_maps.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>

#include <algorithm>

namespace gradus {

namespace {

/// y[.., k, ..] = x[.., from(k), ..] for k < size.
template <class From>
Tensor map_axis(const Tensor& x, int axis, int64_t size, From from) {
  Tensor index = empty({size}, DType::i64);
  int64_t* const places = index.mutable_data<int64_t>();
  for (int64_t k = 0; k < size; ++k) places[k] = from(k);
  return index_select(x, axis, index);
}

/// n * times, which 64 bits must hold.
int64_t product(const char* op, int64_t n, int64_t times, const Shape& shape) {
  int64_t size = 0;
  check(times >= 0 && !__builtin_mul_overflow(n, times, &size), "{}: {} times, shape {}", op, times,
        shape);
  return size;
}

}  // namespace

Tensor flip(const Tensor& x, const Axes& axes) {
  const auto flipped = axis_flags("flip", axes, x.ndim());
  Tensor y = contiguous(x);
  for (int i = 0; i < x.ndim(); ++i) {
    const int64_t n = x.shape()[i];
    if (flipped[i]) y = map_axis(y, i, n, [n](int64_t k) { return n - 1 - k; });
  }
  return y;
}

Tensor roll(const Tensor& x, int64_t shift, int64_t axis) {
  const int i = normalize_axis("roll", axis, x.ndim());
  const int64_t n = x.shape()[i], back = n == 0 ? 0 : (n - shift % n) % n;
  return concat({slice(x, i, back, n), slice(x, i, 0, back)}, i);
}

Tensor tile(const Tensor& x, const Shape& repeats) {
  Tensor y = contiguous(x);
  for (int more = repeats.ndim() - x.ndim(); more > 0; --more) y = unsqueeze(y, 0);
  const int leading = y.ndim() - repeats.ndim();
  for (int i = 0; i < repeats.ndim(); ++i) {
    const int64_t n = y.shape()[leading + i];
    const int64_t size = product("tile", n, repeats[i], x.shape());
    if (repeats[i] != 1) y = map_axis(y, leading + i, size, [n](int64_t k) { return k % n; });
  }
  return y;
}

Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t axis) {
  const int i = normalize_axis("repeat_interleave", axis, x.ndim());
  const int64_t size = product("repeat_interleave", x.shape()[i], times, x.shape());
  return map_axis(x, i, size, [times](int64_t k) { return k / times; });
}

namespace {

/// x with `before` and `after` elements of `value` at the axis' ends.
Tensor pad_with(const Tensor& x, int axis, int64_t before, int64_t after, double value) {
  const int64_t n = x.shape()[axis];
  const Tensor kept =
      slice(x, axis, std::max<int64_t>(-before, 0), n + std::min<int64_t>(after, 0));
  const auto padding = [&](int64_t size) {
    Shape shape = x.shape();
    shape[axis] = std::max<int64_t>(size, 0);
    return full(shape, value, x.dtype());
  };
  return concat({padding(before), kept, padding(after)}, axis);
}

}  // namespace

Tensor pad(const Tensor& x, const Shape& amounts, PadMode mode, double value) {
  check(amounts.ndim() % 2 == 0 && amounts.ndim() / 2 <= x.ndim(),
        "pad: amounts {} for shape {}; two for each axis, from the last on", amounts, x.shape());
  check_number("pad", value, x.dtype());
  Tensor y = contiguous(x);
  for (int k = 0; k < amounts.ndim(); k += 2) {
    const int axis = x.ndim() - 1 - k / 2;
    const int64_t before = amounts[k], after = amounts[k + 1], n = x.shape()[axis];
    int64_t size = 0;
    const bool fits = !__builtin_add_overflow(n, before, &size) &&
                      !__builtin_add_overflow(size, after, &size) && before >= -n && after >= -n &&
                      size >= 0;
    check(fits, "pad: by {} and {} along axis {} of shape {}", before, after, axis, x.shape());
    if (before == 0 && after == 0) continue;
    if (mode == PadMode::constant) {
      y = pad_with(y, axis, before, after, value);
      continue;
    }
    const int64_t most = mode == PadMode::reflect ? n - 1 : size;
    check(n > 0 && before <= most && after <= most,
          "pad: by {} and {} along axis {} of shape {}, which {}", before, after, axis, x.shape(),
          n == 0 ? "has no elements to repeat" : "has too few elements to reflect");
    y = map_axis(y, axis, size, [=](int64_t at) {
      const int64_t i = at - before;
      if (mode == PadMode::replicate) return std::clamp<int64_t>(i, 0, n - 1);
      return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i;
    });
  }
  return y;
}

namespace {

/// Whether j - i, of column j and row i, is above `diagonal`, for x's last two axes.
Tensor above_diagonal(const char* op, const Tensor& x, int64_t diagonal) {
  check(x.ndim() >= 2, "{}: needs rows and columns, got shape {}", op, x.shape());
  const int64_t rows = x.shape()[-2], columns = x.shape()[-1];
  const auto k = static_cast<double>(std::clamp(diagonal, -rows - 1, columns));
  return less(add(reshape(arange(rows), {rows, 1}), k), arange(columns));
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal) {
  return masked_fill(x, above_diagonal("tril", x, diagonal), 0);
}

Tensor triu(const Tensor& x, int64_t diagonal) {
  const int64_t below = std::max(diagonal, -std::numeric_limits<int64_t>::max()) - 1;
  return masked_fill(x, logical_not(above_diagonal("triu", x, below)), 0);
}

namespace {

/// The places of the true elements of a boolean x in row-major order.
Tensor true_places(const Tensor& x) {
  const raw::Contiguous values(x);
  const bool* const first = values.data<bool>();
  Tensor places = empty({std::count(first, first + x.numel(), true)}, DType::i64);
  int64_t* to = places.mutable_data<int64_t>();
  for (int64_t i = 0; i < x.numel(); ++i)
    if (first[i]) *to++ = i;
  return places;
}

}  // namespace

Tensor nonzero(const Tensor& x) {
  const Tensor places = true_places(x.dtype() == DType::boolean ? x : not_equal(x, 0));
  Tensor y = empty({places.numel(), x.ndim()}, DType::i64);
  int64_t* to = y.mutable_data<int64_t>();
  for (int64_t k = 0; k < places.numel(); ++k)
    for (const int64_t i : unravel(places.data<int64_t>()[k], x.shape())) *to++ = i;
  return y;
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check(mask.dtype() == DType::boolean, "masked_select: the mask is {}, not bool",
        name(mask.dtype()));
  const Shape shape = broadcast_shapes("masked_select", x.shape(), mask.shape());
  return index_select(reshape(expand(x, shape), {shape.numel()}), 0,
                      true_places(raw::expand(mask, shape)));
}

}  // namespace gradus
