#pragma once
#include <gradus/gradcheck/gradcheck.h>

#include <nlohmann/json.hpp>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

// Who finds the wrong backward passes: gradcheck with its defaults, and PyTorch's two rules. Those
// differ from PyTorch 2.13's own in two ways: its fast mode draws u and v from a torch.Generator
// with a fixed default seed, here another seed each run; and its check that two backward passes
// give the same (nondet_tol) is left out, which no mutant here would fail.

/// d(outputs)/d(entries) of each input by sweeps, row-major.
std::vector<std::vector<double>> jacobians(const Trial& trial);

/// PyTorch's gradcheck, from its documentation: every derivative's central difference n with
/// eps = 1e-6 lies at |a - n| <= atol + rtol |n|, atol = 1e-5 and rtol = 1e-3, and a zero dy gives
/// zero gradients.
bool passes_slow_rule(const Trial& trial);
/// The same with fast_mode=True: v^T J u for u, v >= 0 of unit norm, uniformly distributed before
/// that, one u an input; atol is multiplied by sum(u) sum(v).
bool passes_fast_rule(const Trial& trial, uint64_t seed);

/// What became of one mutant over several seeds.
struct Row {
  Mutant mutant;
  /// Over the wrong tensors' entries, the largest change of an entry's derivatives relative to
  /// their norm (their tensor's where that is 0); the smallest over seeds.
  double effect = 0;
  int runs = 0;
  int relevant = 0;                  ///< with an effect of at least 1e-6
  int ours = 0, slow = 0, fast = 0;  ///< caught; ours: found wrong, not only untold
  int missed = 0;                    ///< relevant and not caught by ours
  int localised = 0;                 ///< just the wrong tensors disagree
  int named = 0;                     ///< by its cause's pattern; without one: as nothing
  std::string note;                  ///< the first seed at which something is amiss
};

/// Whether a change that is meant to be 1e-6 is one.
inline bool is_relevant(double effect) { return effect >= 1e-6 * (1 - 1e-6); }

Row try_mutant(const Mutant& mutant, int seeds);

struct Totals {
  int mutants = 0, runs = 0, relevant = 0, ours = 0, slow = 0, fast = 0, missed = 0;
  int localised = 0, with_pattern = 0, named = 0, named_for_nothing = 0;
};
Totals totals(std::span<const Row> rows);

/// A check of a right gradient: a random op or two of random shape at random values; one in twenty
/// a norm with an eps of 1e-12 and values of 1e-7 to 1e4, of which some are narrower than any step.
struct RightCheck {
  std::string what;
  Trial trial;
};
RightCheck random_right_check(uint64_t seed, int64_t largest = 4096);

struct FalseAlarms {
  int checks = 0, full = 0;
  int64_t smallest = 0, largest = 0;  ///< entries of a trial's inputs
  int64_t entries = 0, unresolved = 0, kinks = 0;
  int untold = 0;  ///< checks in which no entry could be told
  std::vector<std::string> alarms;
};
/// Adds one check.
void check_right(uint64_t seed, int64_t largest, FalseAlarms& result);

/// A table in Markdown, and below it the totals.
std::string to_markdown(std::span<const Row> rows, const FalseAlarms& right);
nlohmann::ordered_json to_json(std::span<const Row> rows, const FalseAlarms& right);

}  // namespace gradus::mutations
