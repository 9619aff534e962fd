#pragma once
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>

namespace gradus {

/// y = x / (1 - p) where a draw of probability 1 - p, one for each element, says so, else 0
/// (Srivastava et al. 2014, inverted): the mean of y is x. p = 1 gives zeros; outside of training
/// y = x.
Tensor dropout(const Tensor& x, double p, bool training = true,
               Generator& generator = default_generator());

}  // namespace gradus
