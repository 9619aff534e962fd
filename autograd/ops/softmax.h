#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Along one axis; computed from x less its maximum, so that no exp overflows. Where one element has
// nearly all of the sum, what is left to the others keeps its digits: log_softmax of {20, 0} is
// {-2.06e-9, -20}, where PyTorch's is {0, -20} in f32.

// Where x is -inf all along the axis, or inf somewhere, softmax and log_softmax are NaN there, and
// so are the gradients of all three; logsumexp is -inf or inf.

/// y = exp(x) / sum exp(x)
Tensor softmax(const Tensor& x, int64_t axis = -1);
/// y = x - log sum exp(x)
Tensor log_softmax(const Tensor& x, int64_t axis = -1);
/// y = log sum exp(x); the axis goes away, or stays with size 1.
Tensor logsumexp(const Tensor& x, int64_t axis = -1, bool keepdim = false);
/// The same over several axes; Axes() means all.
Tensor logsumexp(const Tensor& x, const Axes& axes, bool keepdim = false);

/// dx = y (dy - sum dy y) over the last axis: the gradient of y = softmax(x) in terms of y and dy.
Tensor softmax_backward(const Tensor& y, const Tensor& dy);

}  // namespace gradus
