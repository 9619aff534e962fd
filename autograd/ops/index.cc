#include <gradus/autograd/ops/index.h>
#include <gradus/kernels/runtime/threads.h>

#include <algorithm>

namespace gradus {

namespace {

/// Elements that a thread takes at a time.
constexpr int64_t kGrain = 1 << 14;

/// The indices in row-major order, all of them in [0, size).
Tensor checked_indices(const char* op, const Tensor& index, int64_t size) {
  check(index.dtype() == DType::i64, "{}: the indices are {}, not i64", op, name(index.dtype()));
  Tensor indices = raw::contiguous(index);
  const int64_t* k = indices.data<int64_t>();
  for (int64_t i = 0; i < indices.numel(); ++i) {
    if (k[i] < 0 || k[i] >= size) [[unlikely]]
      fail("{}: index {} at {} of shape {} is not in [0, {})", op, k[i], unravel(i, index.shape()),
           index.shape(), size);
  }
  return indices;
}

/// (outer, n, inner): the axis and what lies around it; index has m for n.
struct AxisSizes {
  int axis;
  int64_t outer, n, m, inner;
};

AxisSizes axis_sizes(const char* op, const Shape& x, int64_t axis, const Shape& index) {
  AxisSizes s{normalize_axis(op, axis, x.ndim()), 1, 0, 0, 1};
  Shape expected = x;
  if (index.ndim() == x.ndim()) expected[s.axis] = index[s.axis];
  check(index == expected, "{}: x {} and index {} must agree but for axis {}", op, x, index, axis);
  for (int i = 0; i < x.ndim(); ++i)
    if (i != s.axis) (i < s.axis ? s.outer : s.inner) *= x[i];
  s.n = x[s.axis];
  s.m = index[s.axis];
  return s;
}

// Calls f(place in x, place in index) for all of index, an outer part at a time.
template <class F>
void for_each_index(const AxisSizes& s, const int64_t* index, F f) {
  kernels::parallel_for_rows(s.outer, s.m * s.inner, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin * s.m; k < end * s.m; ++k)
      for (int64_t j = 0; j < s.inner; ++j) {
        const int64_t at = k * s.inner + j;
        f((k / s.m * s.n + index[at]) * s.inner + j, at);
      }
  });
}

/// y with src added; y is a fresh copy of x, or zeros where x is.
Tensor add_scattered(Tensor y, const Tensor& x, int64_t axis, const Tensor& index,
                     const Tensor& src);

Tensor add_rows(const Tensor& dy, const Tensor& indices, int64_t count);

}  // namespace

// y = x at index:  dx = dy added there to zeros
static Op gather_op("gather", [](Backward& ctx) {
  const Tensor none = zeros(ctx.input_shape(0), ctx.dy().dtype());
  ctx.set(0, add_scattered(none, none, ctx.attrs<int64_t>(), ctx.kept(0), ctx.dy()));
});

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index) {
  const AxisSizes s = axis_sizes("gather", x.shape(), axis, index.shape());
  const Tensor indices = checked_indices("gather", index, s.n), values = raw::contiguous(x);
  Tensor y = empty(index.shape(), x.dtype());
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = values.data<T>();
    T* to = y.mutable_data<T>();
    for_each_index(s, indices.data<int64_t>(),
                   [&](int64_t in_x, int64_t at) { to[at] = from[in_x]; });
  });
  return record(gather_op, std::move(y), {x}, {indices}, int64_t{s.axis});
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
  const AxisSizes s = axis_sizes("scatter_add", x.shape(), axis, index.shape());
  const Tensor indices = checked_indices("scatter_add", index, s.n), values = raw::contiguous(src);
  dispatch_floating(x.dtype(), "scatter_add", [&]<class T>() {
    const T* from = values.data<T>();
    T* to = y.mutable_data<T>();
    for_each_index(s, indices.data<int64_t>(),
                   [&](int64_t in_x, int64_t at) { to[in_x] += from[at]; });
  });
  return record(scatter_add_op, std::move(y), {x, src}, {indices}, int64_t{s.axis});
}

// dw = the rows of dy added up where they came from:  d dy = ddw's rows
Op add_rows_op("embedding_backward",
               [](Backward& ctx) { ctx.set(0, embedding(ctx.dy(), ctx.kept(0))); });

Tensor add_rows(const Tensor& dy, const Tensor& indices, int64_t count) {
  const int64_t d = dy.shape().back();
  const Tensor rows = raw::contiguous(dy);
  Tensor dw = zeros({count, d}, dy.dtype());
  dispatch_floating(dy.dtype(), "embedding_backward", [&]<class T>() {
    const T* from = rows.data<T>();
    const int64_t* index = indices.data<int64_t>();
    T* to = dw.mutable_data<T>();
    const int64_t columns = std::max<int64_t>(16, kernels::per_grain(indices.numel(), kGrain));
    kernels::parallel_for(d, columns, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < indices.numel(); ++i)
        for (int64_t j = begin; j < end; ++j) to[index[i] * d + j] += from[i * d + j];
    });
  });
  return record(add_rows_op, std::move(dw), {dy}, {indices});
}

}  // namespace

// y = weight's rows:  dw = the rows of dy added up where they came from
static Op embedding_op("embedding", [](Backward& ctx) {
  ctx.set(0, add_rows(ctx.dy(), ctx.kept(0), ctx.input_shape(0)[0]));
});

Tensor embedding(const Tensor& weight, const Tensor& indices) {
  check(weight.ndim() == 2, "embedding: needs a weight of shape (V, D), got {}", weight.shape());
  const int64_t d = weight.shape()[1];
  const Tensor rows = checked_indices("embedding", indices, weight.shape()[0]);
  const Tensor values = raw::contiguous(weight);
  Shape shape = indices.shape();
  shape.push_back(d);
  Tensor y = empty(shape, weight.dtype());
  const int64_t* index = rows.data<int64_t>();
  const size_t bytes = static_cast<size_t>(d) * size_of(weight.dtype());
  char* to = y.mutable_bytes();
  kernels::parallel_for_rows(rows.numel(), d, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + static_cast<size_t>(i) * bytes,
                  values.bytes() + static_cast<size_t>(index[i]) * bytes, bytes);
  });
  return record(embedding_op, std::move(y), {weight}, {rows});
}

Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype) {
  check(classes > 0, "one_hot: {} classes", classes);
  const Tensor indices = checked_indices("one_hot", labels, classes);
  Shape shape = labels.shape();
  shape.push_back(classes);
  Tensor y = zeros(shape, dtype);
  const int64_t* index = indices.data<int64_t>();
  dispatch(dtype, [&]<class T>() {
    T* to = y.mutable_data<T>();
    for (int64_t i = 0; i < indices.numel(); ++i) to[i * classes + index[i]] = T(1);
  });
  return y;
}

}  // namespace gradus
