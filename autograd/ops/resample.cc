#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/resample.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/runtime/windows.h>

#include <cmath>

namespace gradus {

namespace {

/// One axis of an image.
struct Resampled {
  int64_t from, to;
  std::optional<double> scale;
};

/// Where output i begins in x, rounded down: by the sizes in integers, which no division rounds;
/// as in PyTorch also where a scale above 2 makes just twice the size.
int64_t nearest(const Resampled& axis, int64_t i) {
  if (!axis.scale || axis.to == 2 * axis.from) return i * axis.from / axis.to;
  return std::min(static_cast<int64_t>(static_cast<double>(i) / *axis.scale), axis.from - 1);
}

double place(const Resampled& axis, int64_t i, bool align_corners) {
  const double from = static_cast<double>(axis.from), to = static_cast<double>(axis.to),
               at = static_cast<double>(i);
  if (align_corners) return axis.to > 1 ? at * (from - 1) / (to - 1) : 0;
  const double ratio = axis.scale ? 1 / *axis.scale : from / to;
  return std::max(ratio * (at + 0.5) - 0.5, 0.0);
}

Tensor nearest_along(const Tensor& x, int64_t axis, const Resampled& s) {
  Tensor indices = empty({s.to}, DType::i64);
  for (int64_t i = 0; i < s.to; ++i) indices.mutable_data<int64_t>()[i] = nearest(s, i);
  return index_select(x, axis, indices);
}

/// y = (1 - w) x[low] + w x[high]. An output that lies on a pixel is the mean of twice that pixel,
/// so that no other has a part in it, and an infinite one is not multiplied by 0.
Tensor linear_along(const Tensor& x, int64_t axis, const Resampled& s, bool align_corners) {
  Tensor low = empty({s.to}, DType::i64), high = empty({s.to}, DType::i64),
         weight = empty(axis == 2 ? Shape{s.to, 1} : Shape{s.to}, DType::f64);
  for (int64_t i = 0; i < s.to; ++i) {
    const double at = place(s, i, align_corners);
    const int64_t first = std::min(static_cast<int64_t>(at), s.from - 1);
    const double rest = at - static_cast<double>(first);
    const bool on_pixel = rest == 0 || first == s.from - 1;
    low.mutable_data<int64_t>()[i] = first;
    high.mutable_data<int64_t>()[i] = on_pixel ? first : first + 1;
    weight.mutable_data<double>()[i] = on_pixel ? 0.5 : rest;
  }
  const Tensor w = raw::cast(weight, x.dtype()), rest = raw::cast(1 - weight, x.dtype());
  return index_select(x, axis, low) * rest + index_select(x, axis, high) * w;
}

/// A size after scaling; 0 for what is none, or beyond reach.
int64_t scaled(int64_t size, double scale) {
  const double to = std::floor(static_cast<double>(size) * scale);
  return to >= 1 && to <= 0x1p31 ? static_cast<int64_t>(to) : 0;
}

}  // namespace

Tensor interpolate(const Tensor& x, const InterpolateOptions& options) {
  const char* op = "interpolate";
  check(is_floating(x.dtype()) || options.mode == Interpolation::nearest,
        "{}: bilinear of {}: a mean needs f32 or f64; cast(x, DType::f32) first", op,
        name(x.dtype()));
  const auto& [size, scale, mode, align_corners] = options;
  const bool row = x.ndim() == 3;
  check(row || x.ndim() == 4, "{}: x must be (N, C, H, W) or (N, C, L), is {}", op, x.shape());
  check(size.has_value() != scale.has_value(), "{}: needs a size or a scale, got {} of the two", op,
        size ? 2 : 0);
  check(!align_corners || mode == Interpolation::bilinear,
        "{}: align_corners is for bilinear interpolation, x being {}", op, x.shape());
  check(!row || !size || size->h == size->w, "{}: a size of {} for x {} with one axis", op,
        size ? str(*size) : "", x.shape());
  const int64_t h = row ? 1 : x.size(2), w = x.size(-1);
  Pair to = size ? *size : Pair(scaled(h, *scale), scaled(w, *scale));
  if (row) to.h = 1;
  check(h > 0 && w > 0 && to.h > 0 && to.w > 0 && kernels::within_reach({h, w, to.h, to.w}),
        "{}: x {} {}; sizes lie between 1 and 2^31", op, x.shape(),
        size ? fmt::format("to {}", str(*size)) : fmt::format("times {}", *scale));
  Tensor y = row ? unsqueeze(x, 2) : x;
  const Resampled axes[] = {{h, to.h, scale}, {w, to.w, scale}};
  for (const int axis : {2, 3}) {
    const Resampled& s = axes[axis - 2];
    if (s.to == s.from) continue;
    y = mode == Interpolation::nearest ? nearest_along(y, axis, s)
                                       : linear_along(y, axis, s, align_corners);
  }
  return row ? squeeze(y, 2) : y;
}

}  // namespace gradus
