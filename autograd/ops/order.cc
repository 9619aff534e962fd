#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/order.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/kernels/index/index.h>

namespace gradus {

namespace {

/// Where the first `m` in the order of the axis stand.
Tensor first_in_order(const Tensor& x, int axis, int64_t m, bool descending) {
  kernels::IndexedAxis s{1, x.shape()[axis], m, 1};
  for (int i = 0; i < x.ndim(); ++i)
    if (i != axis) (i < axis ? s.outer : s.inner) *= x.shape()[i];
  Shape shape = x.shape();
  shape[axis] = m;
  Tensor index = empty(shape, DType::i64);
  const raw::Contiguous values(x);
  if (index.numel() > 0)
    dispatch(x.dtype(), [&]<class T>() {
      kernels::order<T>(s, descending, values.data<T>(), index.mutable_data<int64_t>());
    });
  return index;
}

ValuesAndIndices at_indices(const Tensor& x, int64_t axis, const Tensor& index, bool keepdim) {
  const Tensor values = gather(x, axis, index);
  if (keepdim) return {values, index};
  return {squeeze(values, axis), squeeze(index, axis)};
}

/// f of a vector, or of a scalar as one of one element.
template <class F>
ValuesAndIndices of_vectors(const Tensor& x, F f) {
  if (x.ndim() > 0) return f(x);
  const ValuesAndIndices y = f(reshape(x, {1}));
  return {reshape(y.values, {}), raw::reshape(y.indices, {})};
}

}  // namespace

Tensor argsort(const Tensor& x, int64_t axis, bool descending) {
  const int i = normalize_axis("argsort", axis, x.ndim());
  if (x.ndim() == 0) return zeros({}, DType::i64);
  return first_in_order(x, i, x.shape()[i], descending);
}

ValuesAndIndices sort(const Tensor& x, int64_t axis, bool descending) {
  const int i = normalize_axis("sort", axis, x.ndim());
  return of_vectors(x, [&](const Tensor& v) {
    return at_indices(v, i, first_in_order(v, i, v.shape()[i], descending), true);
  });
}

ValuesAndIndices topk(const Tensor& x, int64_t k, int64_t axis, bool largest) {
  const int i = normalize_axis("topk", axis, x.ndim());
  const int64_t n = x.ndim() == 0 ? 1 : x.shape()[i];
  check(k >= 0 && k <= n && (x.ndim() > 0 || k == 1),
        "topk: {} of axis {} of shape {}, which does not have as many", k, axis, x.shape());
  return of_vectors(
      x, [&](const Tensor& v) { return at_indices(v, i, first_in_order(v, i, k, largest), true); });
}

ValuesAndIndices max_with_indices(const Tensor& x, int64_t axis, bool keepdim) {
  return at_indices(x, axis, argmax(x, axis, true), keepdim);
}

ValuesAndIndices min_with_indices(const Tensor& x, int64_t axis, bool keepdim) {
  return at_indices(x, axis, argmin(x, axis, true), keepdim);
}

}  // namespace gradus
