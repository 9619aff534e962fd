#pragma once
#include <gradus/autograd/tape.h>

#include <string_view>

namespace gradus {

/// Products of elements, summed over the letters that are not in the result: of "ij,jk->ik" y_ik =
/// sum_j a_ij b_jk. A letter names an axis, in each tensor that has it of the same size; twice in
/// one tensor it is that one's diagonal. Without "->" the result has the letters that stand once,
/// in alphabetical order. Spaces are skipped; "..." is no letter: an axis needs a name.
/// f32 and f64; the products are made from the left to the right.
Tensor einsum(std::string_view equation, std::span<const Tensor> tensors);
inline Tensor einsum(std::string_view equation, std::initializer_list<Tensor> tensors) {
  return einsum(equation, std::span(tensors.begin(), tensors.size()));
}

}  // namespace gradus
