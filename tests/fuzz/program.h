#pragma once
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace gradus::fuzz {

/// What became of a program of ops.
struct Outcome {
  int ops = 0;                           ///< calls that gave a result
  int errors = 0;                        ///< calls that an Error refused
  int compared = 0;                      ///< values and gradients compared with f64
  std::set<std::string_view> functions;  ///< whose values were compared
  std::set<std::string_view> recorded;   ///< ops that the tape held
  std::string finding;  ///< what is wrong, with the calls before it; empty: nothing
};

/// Reads bytes, any, as a program: tensors of f32 in every layout, ops on them and on their
/// results, a sweep back from a weighted sum of some results, or of their squares. Each result, and
/// each gradient that the sweep brought to a leaf or a result, is compared with that one op in f64,
/// on contiguous copies of the same inputs and the same dy; the gradient of a value that several
/// ops read, with the sum of theirs. So no rounding passes from one comparison to the next. What
/// rounding may do within an op is what inputs and dy moved by 2^-16 of their size do to its result
/// in f64, or 2^-18 of the product of their sizes, for terms that cancel (an input squared whose
/// parts are multiplied). Where inputs or dy are beyond 1e+-8, but for 0, infinities and NaN,
/// nothing is compared, nor are gradients of an op whose result or dy is not finite. Error is a
/// right answer; every other exception is a finding.
Outcome run_program(std::span<const uint8_t> bytes);

}  // namespace gradus::fuzz
