#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/layers/lengths.h>

namespace gradus {

Tensor length_mask(const Tensor& lengths, int64_t steps) {
  check(lengths.dtype() == DType::i64 && lengths.ndim() == 1,
        "lengths: need one i64 for each sequence, got {} {}", lengths.shape(),
        name(lengths.dtype()));
  const Tensor from = raw::contiguous(lengths);
  Tensor valid = empty({lengths.size(0), steps}, DType::boolean);
  bool* out = valid.mutable_data<bool>();
  for (int64_t n = 0; n < lengths.size(0); ++n) {
    const int64_t length = from.data<int64_t>()[n];
    check(length >= 0 && length <= steps, "lengths: sequence {} has length {} of {} steps", n,
          length, steps);
    for (int64_t t = 0; t < steps; ++t) *out++ = t < length;
  }
  return valid;
}

Tensor clear_padding(const Tensor& x, const Tensor& valid) {
  check(x.ndim() == 3 && valid.dtype() == DType::boolean &&
            valid.shape() == Shape{x.size(0), x.size(1)},
        "clear_padding: valid is {} {}, must be bool (N, T) for x (N, T, D), which is {}",
        valid.dtype(), valid.shape(), x.shape());
  return where(unsqueeze(valid, -1), x, zeros({}, x.dtype()));
}

}  // namespace gradus
