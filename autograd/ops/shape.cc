#include <fmt/format.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include <algorithm>

namespace gradus {

// y = x in another shape:  dx = dy in x's shape
static Op reshape_op("reshape",
                     [](Backward& ctx) { ctx.set(0, reshape(ctx.dy(), ctx.input_shape(0))); });

Tensor reshape(const Tensor& x, const Shape& shape) {
  return record(reshape_op, raw::reshape(x, shape), {x});
}

Tensor flatten(const Tensor& x, int64_t first, int64_t last) {
  const int ndim = std::max(1, x.ndim());  // as if a scalar had an axis
  const int begin = normalize_axis("flatten", first, ndim);
  const int end = normalize_axis("flatten", last, ndim);
  check(begin <= end, "flatten: axes {} to {} of shape {}", first, last, x.shape());
  if (x.ndim() == 0) return reshape(x, {1});
  Shape shape;
  for (int i = 0; i < x.ndim(); ++i) {
    if (i > begin && i <= end)
      shape[begin] *= x.shape()[i];
    else
      shape.push_back(x.shape()[i]);
  }
  return reshape(x, shape);
}

// y[i_0, i_1, ...] = x with axis order[k] running as i_k:  dx is dy with the axes put back
static Op permute_op("permute", [](Backward& ctx) {
  const Axes& order = ctx.attrs<Axes>();
  Axes inverse = order;
  for (int i = 0; i < order.ndim(); ++i) inverse[static_cast<int>(order[i])] = i;
  ctx.set(0, permute(ctx.dy(), inverse));
});

Tensor permute(const Tensor& x, const Axes& order) {
  check(order.ndim() == x.ndim(), "permute: {} axes for shape {}", order.ndim(), x.shape());
  axis_flags("permute", order, x.ndim());
  Shape shape;
  Axes from;
  int64_t strides[Shape::kMaxDims];
  for (int i = 0; i < order.ndim(); ++i) {
    const int axis = normalize_axis("permute", order[i], x.ndim());
    from.push_back(axis);
    shape.push_back(x.shape()[axis]);
    strides[i] = x.strides()[axis];
  }
  Tensor y = as_strided(x, shape, {strides, static_cast<size_t>(shape.ndim())}, 0);
  return record(permute_op, std::move(y), {x}, {}, from);
}

Tensor transpose(const Tensor& x, int64_t axis_a, int64_t axis_b) {
  const int a = normalize_axis("transpose", axis_a, x.ndim()),
            b = normalize_axis("transpose", axis_b, x.ndim());
  Axes order;
  for (int i = 0; i < x.ndim(); ++i) order.push_back(i == a ? b : i == b ? a : i);
  return permute(x, order);
}

static Shape strides_of(const Tensor& x) {
  return Shape(std::span(x.strides(), static_cast<size_t>(x.ndim())));
}

/// x's memory, whatever its order, with axes of size 1 more or less.
static Tensor reshaped_view(const Tensor& x, const Shape& shape, const Shape& strides) {
  return record(reshape_op, as_strided(x, shape, {strides.begin(), strides.end()}, 0), {x});
}

Tensor unsqueeze(const Tensor& x, int64_t axis) {
  const int i = normalize_axis("unsqueeze", axis, x.ndim() + 1);
  return reshaped_view(x, x.shape().inserted(i, 1), strides_of(x).inserted(i, 1));
}

Tensor squeeze(const Tensor& x, const Axes& axes) {
  const auto squeezed = axis_flags("squeeze", axes, x.ndim());
  Shape shape, strides;
  for (int i = 0; i < x.ndim(); ++i) {
    if (squeezed[i] && x.shape()[i] == 1) continue;
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return reshaped_view(x, shape, strides);
}

// y repeats x:  dx = the sum of dy over the repetitions
static Op expand_op("expand",
                    [](Backward& ctx) { ctx.set(0, sum_to(ctx.dy(), ctx.input_shape(0))); });

Tensor expand(const Tensor& x, const Shape& shape) {
  return record(expand_op, raw::expand(x, shape), {x});
}

/// `axis`, which x has: a scalar has none along which parts lie.
static int axis_of_parts(const char* op, const Tensor& x, int64_t axis) {
  check(x.ndim() > 0, "{}: a scalar has no axis {}", op, axis);
  return normalize_axis(op, axis, x.ndim());
}

namespace {

struct SliceAttrs {
  int axis;
  int64_t begin, end, step;
  Shape shape;  // of the tensor that is sliced
};

Tensor slice_view(const Tensor& x, const SliceAttrs& s) {
  const int64_t length = s.end - s.begin;
  Shape shape = x.shape();
  shape[s.axis] = length == 0 ? 0 : (length - 1) / s.step + 1;
  int64_t strides[Shape::kMaxDims];
  std::copy_n(x.strides(), x.ndim(), strides);
  strides[s.axis] *= std::min(s.step, std::max<int64_t>(1, length));  // further lies nothing
  return as_strided(x, shape, {strides, static_cast<size_t>(x.ndim())},
                    s.begin * x.strides()[s.axis]);
}

Tensor apply_slice(const Tensor& x, const SliceAttrs& attrs);
Tensor unslice(const Tensor& y, const SliceAttrs& attrs);

// y = x[begin:end:step]:  dx = dy there, 0 elsewhere
Op slice_op("slice", [](Backward& ctx) { ctx.set(0, unslice(ctx.dy(), ctx.attrs<SliceAttrs>())); });

// The adjoint: x = zeros, x[begin:end:step] = y:  dy = dx[begin:end:step]
Op unslice_op("unslice",
              [](Backward& ctx) { ctx.set(0, apply_slice(ctx.dy(), ctx.attrs<SliceAttrs>())); });

Tensor apply_slice(const Tensor& x, const SliceAttrs& attrs) {
  return record(slice_op, slice_view(x, attrs), {x}, {}, attrs);
}

Tensor unslice(const Tensor& y, const SliceAttrs& attrs) {
  Tensor x = zeros(attrs.shape, y.dtype());
  Tensor place = slice_view(x, attrs);
  raw::copy(y, place);
  return record(unslice_op, std::move(x), {y}, {}, attrs);
}

}  // namespace

Tensor slice(const Tensor& x, int64_t axis, int64_t begin, int64_t end, int64_t step) {
  const int i = axis_of_parts("slice", x, axis);
  const int64_t size = x.shape()[i];
  const int64_t first = begin < 0 ? begin + size : begin, last = end < 0 ? end + size : end;
  check(step > 0, "slice: a step of {}, must be positive", step);
  check(first >= 0 && first <= size && last >= 0 && last <= size,
        "slice: {} to {} of axis {} of shape {} is beyond its size {}, which is not cut off", begin,
        end, axis, x.shape(), size);
  check(first <= last, "slice: {} to {} of axis {} of shape {}: the end lies before the beginning",
        begin, end, axis, x.shape());
  return apply_slice(x, {i, first, last, step, x.shape()});
}

Tensor select(const Tensor& x, int64_t axis, int64_t index) {
  const int i = axis_of_parts("select", x, axis);
  const int64_t size = x.shape()[i], at = index < 0 ? index + size : index;
  check(at >= 0 && at < size, "select: index {} of axis {} of shape {} is out of range", index,
        axis, x.shape());
  return squeeze(slice(x, i, at, at + 1), i);
}

namespace {

struct PartsAttrs {
  int axis, count;
};

void check_part_count(const char* op, const Tensor& x, int64_t axis, int64_t count) {
  constexpr int64_t kMostParts = int64_t{1} << 24;
  check(count <= kMostParts, "{}: axis {} of shape {} makes more than {} tensors", op, axis,
        x.shape(), kMostParts);
}

/// Enters the parts as the results of one op.
template <class Attrs>
void record_parts(const Op& op, TensorList& parts, const Tensor& x, const Attrs& attrs) {
  std::vector<Tensor*, FreeListAllocator<Tensor*>> outputs;
  for (Tensor& part : parts) outputs.push_back(&part);
  if (!parts.empty()) record_outputs(op, outputs, {x}, {}, &attrs, sizeof attrs);
}

}  // namespace

// y_i = x[i] along the axis:  dx = the dy_i beside each other
static Op unbind_op("unbind", [](Backward& ctx) {
  const int axis = ctx.attrs<int>();
  TensorList parts;
  for (int i = 0; i < ctx.input_shape(0)[axis]; ++i) parts.push_back(ctx.dy(i));
  ctx.set(0, stack(parts, axis));
});

TensorList unbind(const Tensor& x, int64_t axis) {
  const int i = axis_of_parts("unbind", x, axis);
  check_part_count("unbind", x, axis, x.shape()[i]);
  TensorList parts;
  const Shape shape = x.shape().erased(i);
  int64_t strides[Shape::kMaxDims];
  for (int j = 0; j < shape.ndim(); ++j) strides[j] = x.strides()[j < i ? j : j + 1];
  for (int64_t k = 0; k < x.shape()[i]; ++k)
    parts.push_back(
        as_strided(x, shape, {strides, static_cast<size_t>(shape.ndim())}, k * x.strides()[i]));
  record_parts(unbind_op, parts, x, i);
  return parts;
}

// y_i = a part of x:  dx = the dy_i one after the other
static Op split_op("split", [](Backward& ctx) {
  const auto [axis, count] = ctx.attrs<PartsAttrs>();
  TensorList parts;
  for (int i = 0; i < count; ++i) parts.push_back(ctx.dy(i));
  ctx.set(0, concat(parts, axis));
});

/// Parts 0 .. count-1 of axis i, size(k) elements each.
template <class Size>
static TensorList split_axis(const Tensor& x, int i, int64_t count, Size size) {
  TensorList parts;
  int64_t begin = 0;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t end = begin + size(k);
    parts.push_back(slice_view(x, {i, begin, end, 1, x.shape()}));
    begin = end;
  }
  record_parts(split_op, parts, x, PartsAttrs{i, static_cast<int>(count)});
  return parts;
}

TensorList split(const Tensor& x, std::span<const int64_t> sizes, int64_t axis) {
  const int i = axis_of_parts("split", x, axis);
  const auto count = static_cast<int64_t>(sizes.size());
  check_part_count("split", x, axis, count);
  int64_t left = x.shape()[i];
  for (int64_t size : sizes) {
    check(size >= 0 && size <= left,
          "split: sizes {} do not add up to axis {} of shape {}: {} are left for {}",
          fmt::join(sizes, ", "), axis, x.shape(), left, size);
    left -= size;
  }
  check(left == 0, "split: sizes {} leave {} of axis {} of shape {}", fmt::join(sizes, ", "), left,
        axis, x.shape());
  return split_axis(x, i, count, [&](int64_t k) { return sizes[static_cast<size_t>(k)]; });
}

TensorList split(const Tensor& x, int64_t size, int64_t axis) {
  const int i = axis_of_parts("split", x, axis);
  const int64_t all = x.shape()[i];
  check(size > 0 || (size == 0 && all == 0), "split: parts of size {} of axis {} of shape {}", size,
        axis, x.shape());
  const int64_t count = all == 0 ? 1 : (all - 1) / size + 1;
  check_part_count("split", x, axis, count);
  return split_axis(x, i, count, [=](int64_t k) { return std::min(size, all - k * size); });
}

TensorList chunk(const Tensor& x, int64_t count, int64_t axis) {
  const int i = axis_of_parts("chunk", x, axis);
  const int64_t all = x.shape()[i];
  check(count > 0, "chunk: {} parts of axis {} of shape {}", count, axis, x.shape());
  if (all > 0) return split(x, (all - 1) / count + 1, i);
  check_part_count("chunk", x, axis, count);
  return split_axis(x, i, count, [](int64_t) { return int64_t{0}; });
}

// y = x_0, x_1, ... one after the other:  dx_k = its part of dy
static Op concat_op("concat", [](Backward& ctx) {
  const auto [axis, count] = ctx.attrs<PartsAttrs>();
  const Tensor sizes = ctx.kept(0);
  int64_t begin = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t size = sizes.data<int64_t>()[i];
    if (ctx.needs(i)) ctx.set(i, slice(ctx.dy(), axis, begin, begin + size));
    begin += size;
  }
});

Tensor concat(std::span<const Tensor> tensors, int64_t axis) {
  check(!tensors.empty(), "concat: no tensors");
  const Tensor& first = tensors[0];
  const int i = axis_of_parts("concat", first, axis);
  Shape shape = first.shape();
  shape[i] = 0;
  Tensor sizes = empty({static_cast<int64_t>(tensors.size())}, DType::i64);
  int64_t* size = sizes.mutable_data<int64_t>();
  for (const Tensor& x : tensors) {
    check_same_dtype("concat", first, x);
    Shape expected = first.shape();
    if (x.ndim() == first.ndim()) expected[i] = x.shape()[i];
    check(x.shape() == expected, "concat: shapes {} and {} differ beside axis {}", first.shape(),
          x.shape(), axis);
    shape[i] += * size++ = x.shape()[i];
  }
  Tensor y = empty(shape, first.dtype());
  int64_t begin = 0;
  for (const Tensor& x : tensors) {
    const int64_t end = begin + x.shape()[i];
    Tensor place = slice_view(y, {i, begin, end, 1, shape});
    raw::copy(x, place);
    begin = end;
  }
  return record(concat_op, std::move(y), tensors, {sizes},
                PartsAttrs{i, static_cast<int>(tensors.size())});
}

Tensor stack(std::span<const Tensor> tensors, int64_t axis) {
  check(!tensors.empty(), "stack: no tensors");
  TensorList parts;
  for (const Tensor& x : tensors) {
    check(x.shape() == tensors[0].shape(), "stack: shapes {} and {} differ", tensors[0].shape(),
          x.shape());
    parts.push_back(unsqueeze(x, normalize_axis("stack", axis, x.ndim() + 1)));
  }
  return concat(parts, normalize_axis("stack", axis, tensors[0].ndim() + 1));
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor clone(const Tensor& x) { return record(reshape_op, raw::clone(x), {x}); }

Tensor detach(const Tensor& x) {
  return as_strided(x, x.shape(), {x.strides(), static_cast<size_t>(x.ndim())}, 0);
}

}  // namespace gradus
