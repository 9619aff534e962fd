#pragma once
#include <gradus/layers/module.h>

#include <memory>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

/// A module by its inputs and its parameters, all drawn by the seed.
template <std::derived_from<Module> M, class Forward>
Trial module_trial(uint64_t seed, M module, std::vector<Tensor> inputs, Forward forward) {
  const auto owned = std::make_shared<M>(std::move(module));
  owned->to(DType::f64);
  for (auto& [path, tensor] : owned->state())
    if (is_floating(tensor.dtype()))
      raw::copy(between(0.4, 1.6, tensor.shape(), seed, path.c_str()), tensor);
  for (auto& [path, parameter] : owned->named_parameters()) {
    if (parameter.ndim() > 1)
      raw::copy(normal(parameter.shape(), seed, path.c_str(), 0, 0.7), parameter);
    inputs.push_back(parameter);
  }
  return {inputs, [owned, forward](std::span<const Tensor> x) { return forward(*owned, x); }};
}

}  // namespace gradus::mutations
