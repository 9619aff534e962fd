#include <gradus/kernels/index/index.h>
#include <gradus/tensor/detail/indices.h>
#include <gradus/tensor/index.h>

namespace gradus::raw {

Tensor checked_indices(const char* op, const Tensor& indices, int64_t size) {
  check(indices.dtype() == DType::i64, "{}: the indices are {}, not i64", op,
        name(indices.dtype()));
  Tensor checked = contiguous(indices);
  const int64_t* values = checked.data<int64_t>();
  const int64_t bad = kernels::first_outside(checked.numel(), values, size);
  if (bad < checked.numel()) [[unlikely]]
    fail("{}: index {} at {} of shape {} is not in [0, {})", op, values[bad],
         unravel(bad, indices.shape()), indices.shape(), size);
  return checked;
}

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& indices, const char* op) {
  const int i = normalize_axis(op, axis, x.ndim());
  check(indices.ndim() <= 1, "{}: the indices {} must be a vector", op, indices.shape());
  const bool scalar = x.ndim() == 0;
  check(!scalar || indices.numel() == 1, "{}: {} indices for a scalar, needs one", op,
        indices.numel());
  const Tensor chosen = checked_indices(op, indices, scalar ? 1 : x.shape()[i]);
  const Contiguous values(x);
  Shape shape = x.shape();
  if (!scalar) shape[i] = chosen.numel();
  kernels::IndexedAxis s{1, scalar ? 1 : x.shape()[i], chosen.numel(), 1};
  for (int k = 0; k < x.ndim(); ++k)
    if (k != i) (k < i ? s.outer : s.inner) *= shape[k];
  Tensor y = empty(shape, x.dtype());
  dispatch(x.dtype(), [&]<class T>() {
    kernels::index_select<T>(s, chosen.data<int64_t>(), values.data<T>(), y.mutable_data<T>());
  });
  return y;
}

}  // namespace gradus::raw
