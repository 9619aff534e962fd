#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/index/index.h>
#include <gradus/tensor/detail/indices.h>
#include <gradus/tensor/index.h>

namespace gradus {

using kernels::IndexedAxis;

namespace {

/// x and `chosen`, called `what`, have one shape but for the axis.
IndexedAxis indexed_axis(const char* op, const Shape& x, int axis, const Shape& chosen,
                         const char* what = "index") {
  if (x.ndim() == 0) return indexed_axis(op, {1}, axis, chosen, what);
  if (x.ndim() == 1 && chosen.ndim() == 0) return indexed_axis(op, x, axis, {1}, what);
  Shape expected = x;
  if (chosen.ndim() == x.ndim()) expected[axis] = chosen[axis];
  check(chosen == expected, "{}: x {} and {} {} must agree but for axis {}", op, x, what, chosen,
        axis);
  IndexedAxis s{1, x[axis], chosen[axis], 1};
  for (int i = 0; i < x.ndim(); ++i)
    if (i != axis) (i < axis ? s.outer : s.inner) *= x[i];
  return s;
}

/// y with src added; y is a fresh copy of x, or zeros where x is.
Tensor add_scattered(Tensor y, const Tensor& x, int64_t axis, const Tensor& index,
                     const Tensor& src);

/// The same with src's parts along the axis, one for each index.
Tensor add_parts(Tensor y, const Tensor& x, int64_t axis, const Tensor& indices, const Tensor& src);

Tensor add_rows(const Tensor& dy, const Tensor& indices, int64_t count);

}  // namespace

// y = x at index:  dx = dy added there to zeros
static Op gather_op("gather", [](Backward& ctx) {
  const Tensor none = zeros(ctx.input_shape(0), ctx.dy().dtype());
  ctx.set(0, add_scattered(none, none, ctx.attrs<int64_t>(), ctx.kept(0), ctx.dy()));
});

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index) {
  const int i = normalize_axis("gather", axis, x.ndim());
  const IndexedAxis s = indexed_axis("gather", x.shape(), i, index.shape());
  const Tensor indices = raw::checked_indices("gather", index, s.n), values = raw::contiguous(x);
  Tensor y = empty(index.shape(), x.dtype());
  dispatch(x.dtype(), [&]<class T>() {
    kernels::gather<T>(s, indices.data<int64_t>(), values.data<T>(), y.mutable_data<T>());
  });
  return record(gather_op, std::move(y), {x}, {indices}, int64_t{i});
}

// y = x with src added at index:  dx = dy,  dsrc = dy at index
static Op scatter_add_op("scatter_add", [](Backward& ctx) {
  if (ctx.needs(0)) ctx.set(0, ctx.dy());
  if (ctx.needs(1)) ctx.set(1, gather(ctx.dy(), ctx.attrs<int64_t>(), ctx.kept(0)));
});

Tensor scatter_add(const Tensor& x, int64_t axis, const Tensor& index, const Tensor& src) {
  return add_scattered(raw::clone(x), x, axis, index, src);
}

namespace {

Tensor add_scattered(Tensor y, const Tensor& x, int64_t axis, const Tensor& index,
                     const Tensor& src) {
  check_same_dtype("scatter_add", x, src);
  check(src.shape() == index.shape(), "scatter_add: src {} and index {} differ in shape",
        src.shape(), index.shape());
  const int i = normalize_axis("scatter_add", axis, x.ndim());
  const IndexedAxis s = indexed_axis("scatter_add", x.shape(), i, index.shape());
  const Tensor indices = raw::checked_indices("scatter_add", index, s.n),
               values = raw::contiguous(src);
  dispatch_numbers(x.dtype(), "scatter_add", [&]<class T>() {
    kernels::scatter_add<T>(s, indices.data<int64_t>(), values.data<T>(), y.mutable_data<T>());
  });
  return record(scatter_add_op, std::move(y), {x, src}, {indices}, int64_t{i});
}

}  // namespace

// y = x at indices:  dx = dy added there to zeros
static Op index_select_op("index_select", [](Backward& ctx) {
  const Tensor none = zeros(ctx.input_shape(0), ctx.dy().dtype());
  ctx.set(0, add_parts(none, none, ctx.attrs<int64_t>(), ctx.kept(0), ctx.dy()));
});

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& indices) {
  const int i = normalize_axis("index_select", axis, x.ndim());
  Tensor y = raw::index_select(x, i, indices);
  return record(index_select_op, std::move(y), {x}, {raw::contiguous(indices)}, int64_t{i});
}

// y = x with src added at indices:  dx = dy,  dsrc = dy at indices
static Op index_add_op("index_add", [](Backward& ctx) {
  if (ctx.needs(0)) ctx.set(0, ctx.dy());
  if (ctx.needs(1)) ctx.set(1, index_select(ctx.dy(), ctx.attrs<int64_t>(), ctx.kept(0)));
});

Tensor index_add(const Tensor& x, int64_t axis, const Tensor& indices, const Tensor& src) {
  return add_parts(raw::clone(x), x, axis, indices, src);
}

namespace {

Tensor add_parts(Tensor y, const Tensor& x, int64_t axis, const Tensor& indices,
                 const Tensor& src) {
  check_same_dtype("index_add", x, src);
  const int i = normalize_axis("index_add", axis, x.ndim());
  check(src.ndim() == x.ndim(), "index_add: x {} and src {} differ in their dimensions", x.shape(),
        src.shape());
  const IndexedAxis s = indexed_axis("index_add", x.shape(), i, src.shape(), "src");
  check(indices.ndim() <= 1 && indices.numel() == s.m,
        "index_add: indices {} for src {}, one for each of axis {}", indices.shape(), src.shape(),
        i);
  const Tensor places = raw::checked_indices("index_add", indices, s.n);
  const raw::Contiguous values(src);
  dispatch_numbers(x.dtype(), "index_add", [&]<class T>() {
    kernels::index_add<T>(s, places.data<int64_t>(), values.data<T>(), y.mutable_data<T>());
  });
  return record(index_add_op, std::move(y), {x, src}, {places}, int64_t{i});
}

// dw = the rows of dy added up where they came from:  d dy = ddw's rows
Op add_rows_op("embedding_backward",
               [](Backward& ctx) { ctx.set(0, embedding(ctx.dy(), ctx.kept(0))); });

Tensor add_rows(const Tensor& dy, const Tensor& indices, int64_t count) {
  const int64_t d = dy.shape().back();
  const Tensor rows = raw::contiguous(dy);
  Tensor dw = zeros({count, d}, dy.dtype());
  dispatch_floating(dy.dtype(), "embedding_backward", [&]<class T>() {
    kernels::index_add<T>({1, count, indices.numel(), d}, indices.data<int64_t>(), rows.data<T>(),
                          dw.mutable_data<T>());
  });
  return record(add_rows_op, std::move(dw), {dy}, {indices});
}

}  // namespace

// y = weight's rows:  dw = the rows of dy added up where they came from
static Op embedding_op("embedding", [](Backward& ctx) {
  ctx.set(0, add_rows(ctx.dy(), ctx.kept(0), ctx.input_shape(0)[0]));
});

Tensor embedding(const Tensor& weight, const Tensor& indices, std::optional<int64_t> padding_idx) {
  check(weight.ndim() == 2, "embedding: needs a weight of shape (V, D), got {}", weight.shape());
  const int64_t d = weight.shape()[1], count = weight.shape()[0];
  const int64_t row =
      padding_idx && *padding_idx < 0 ? *padding_idx + count : padding_idx.value_or(0);
  check(!padding_idx || (row >= 0 && row < count), "embedding: padding_idx {} of a weight {}", row,
        weight.shape());
  const Tensor rows = raw::checked_indices("embedding", indices, count);
  const Tensor values = raw::contiguous(weight);
  Shape shape = indices.shape();
  shape.push_back(d);
  Tensor y = empty(shape, weight.dtype());
  dispatch(weight.dtype(), [&]<class T>() {
    kernels::index_select<T>({1, count, rows.numel(), d}, rows.data<int64_t>(), values.data<T>(),
                             y.mutable_data<T>());
  });
  y = record(embedding_op, std::move(y), {weight}, {rows});
  if (!padding_idx || !needs_grad(weight)) return y;
  // A constant stands for that row.
  Tensor padding;
  {
    const NoRecord pause;
    padding = select(weight, 0, row);
  }
  const Tensor is_padding = unsqueeze(equal(rows, static_cast<double>(row)), -1);
  return where(is_padding, padding, y);
}

Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype) {
  check(classes > 0, "one_hot: {} classes", classes);
  const Tensor indices = raw::checked_indices("one_hot", labels, classes);
  Shape shape = labels.shape();
  shape.push_back(classes);
  Tensor y = empty(shape, dtype);
  dispatch(dtype, [&]<class T>() {
    kernels::one_hot<T>(indices.numel(), classes, indices.data<int64_t>(), y.mutable_data<T>());
  });
  return y;
}

}  // namespace gradus
