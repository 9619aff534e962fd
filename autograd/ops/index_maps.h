#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Elements of x in other places, some of them several times or not at all: copies, of any dtype.

/// x backwards along the axes; none given means all.
Tensor flip(const Tensor& x, const Axes& axes = {});
/// x with each element moved on by `shift` places along the axis, those at the end to its front:
/// y[(i + shift) mod n] = x[i].
Tensor roll(const Tensor& x, int64_t shift, int64_t axis);
/// x repeated repeats[i] times along axis i; the shorter of x's shape and repeats is filled up with
/// ones at its front. PyTorch's tile and repeat.
Tensor tile(const Tensor& x, const Shape& repeats);
/// Each element of the axis `times` times, one after another.
Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t axis);

/// What stands in the padding: a number; x's elements mirrored at its first and last, which are not
/// repeated; or the first and the last of them.
enum class PadMode { constant, reflect, replicate };
/// x with more elements at the ends of its last axes. amounts: before and after the last axis,
/// before and after the one before it, and so on, as PyTorch's; a negative one takes away. `value`
/// is for PadMode::constant.
Tensor pad(const Tensor& x, const Shape& amounts, PadMode mode = PadMode::constant,
           double value = 0);

/// x below, or above, and on the diagonal of its last two axes, 0 elsewhere. Element (i, j) is on
/// the diagonal k if j - i = k.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);

/// The indices of the elements that are true, or not 0, in row-major order: (K, x.ndim()), i64.
Tensor nonzero(const Tensor& x);
/// The elements where mask (bool) holds, in row-major order: PyTorch's x[mask]. x and mask are
/// broadcast to one shape.   y: (K)
Tensor masked_select(const Tensor& x, const Tensor& mask);

}  // namespace gradus
