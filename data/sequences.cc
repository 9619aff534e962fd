#include <gradus/data/sequences.h>

#include <algorithm>

namespace gradus {

PaddedSequences pad_sequence(const std::vector<Tensor>& sequences, double padding_value) {
  check(!sequences.empty(), "pad_sequence: there are no sequences");
  const auto count = static_cast<int64_t>(sequences.size());
  const Tensor& first = sequences.front();
  check(first.ndim() > 0, "pad_sequence: sequence 0 is a scalar, must be (T, ...)");
  check_number("pad_sequence", padding_value, first.dtype());
  PaddedSequences padded{{}, empty({count}, DType::i64)};
  int64_t* lengths = padded.lengths.mutable_data<int64_t>();
  Shape shape = first.shape();
  for (int64_t n = 0; n < count; ++n) {
    const Tensor& sequence = sequences[static_cast<size_t>(n)];
    check_same_dtype("pad_sequence", first, sequence);
    Shape expected = first.shape();
    if (sequence.ndim() > 0) expected[0] = sequence.size(0);
    check(sequence.shape() == expected,
          "pad_sequence: sequence 0 is {} and sequence {} is {}; they must agree but for axis 0",
          first.shape(), n, sequence.shape());
    lengths[n] = sequence.size(0);
    shape[0] = std::max(shape[0], lengths[n]);
  }
  Shape whole{count};
  for (int64_t size : shape) whole.push_back(size);
  padded.values = full(whole, padding_value, first.dtype());
  dispatch(first.dtype(), [&]<class T>() {
    T* to = padded.values.mutable_data<T>();
    for (const Tensor& sequence : sequences) {
      const raw::Contiguous from(sequence);
      std::copy_n(from.data<T>(), sequence.numel(), to);
      to += shape.numel();
    }
  });
  return padded;
}

Dataset next_token_windows(const Tensor& ids, int64_t length, int64_t step) {
  check(ids.ndim() == 1 && ids.dtype() == DType::i64,
        "next_token_windows: ids are {} {}, must be (L) i64", ids.shape(), name(ids.dtype()));
  check(length > 0 && step >= 0 && length < ids.numel(),
        "next_token_windows: windows of {} tokens, {} apart, of {} and one more; needs one window",
        length, step, ids.numel());
  if (step == 0) step = length;
  const int64_t strides[] = {step, 1}, count = (ids.numel() - 1 - length) / step + 1;
  const Tensor all = raw::contiguous(ids);
  const auto windows = [&](int64_t first) {
    return raw::clone(as_strided(all, {count, length}, strides, first));
  };
  return {"text", windows(0), windows(1)};
}

}  // namespace gradus
