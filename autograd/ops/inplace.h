#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// Changes in place, which no tape can follow: an error where x is a result on the recording tape,
// or a leaf while a tape records; say NoRecord if that is meant. What a tape kept of x before is
// found changed by its sweep.

/// Every element of x becomes `value`.
void fill_(Tensor& x, double value);
/// The elements of `to` become those of `from`: equal shapes and dtypes.
void copy_(Tensor& to, const Tensor& from);

}  // namespace gradus
