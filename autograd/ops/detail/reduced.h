#pragma once
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>

namespace gradus::detail {

inline Tensor reduced(const Tensor& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? mean(losses) : sum(losses);
}

}  // namespace gradus::detail
