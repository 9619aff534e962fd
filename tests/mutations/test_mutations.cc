#define BOOST_TEST_MODULE mutations
#include <set>

#include "tests/checks.h"
#include "tests/mutations/table.h"

using namespace gradus;
using namespace gradus::mutations;

namespace {

const std::vector<Row>& rows() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> result;
    for (const Mutant& mutant : all_mutants()) {
      const bool large = mutant.trial(1).inputs[0].numel() > 1000;
      result.push_back(try_mutant(mutant, large ? 1 : 2));
    }
    return result;
  }();
  return rows;
}

std::string what(const Row& row) {
  return fmt::format("{}, {}: {}", row.mutant.op, row.mutant.what, row.note);
}

}  // namespace

BOOST_AUTO_TEST_CASE(there_are_mutants_of_every_kind) {
  std::set<std::string> families, ops;
  for (const Row& row : rows()) {
    families.insert(row.mutant.family);
    ops.insert(row.mutant.op);
  }
  BOOST_TEST(rows().size() >= 60);
  BOOST_TEST(families.size() >= 20);
  BOOST_TEST(ops.size() >= 40);
}

BOOST_AUTO_TEST_CASE(a_mutant_changes_what_it_says_it_does) {
  for (const Row& row : rows()) {
    BOOST_TEST(row.relevant == row.runs, what(row) << " effect " << row.effect);
    BOOST_TEST(row.note.find("wrong are") == std::string::npos, what(row));
  }
}

BOOST_AUTO_TEST_CASE(wrong_gradients_are_caught_and_named) {
  const Totals t = totals(rows());
  for (const Row& row : rows()) BOOST_TEST(row.missed == 0, what(row));
  BOOST_TEST(t.localised >= 0.95 * t.runs);
  BOOST_TEST(t.named >= 0.8 * t.with_pattern);
  BOOST_TEST(t.named_for_nothing <= 0.02 * (t.runs - t.with_pattern));
}

BOOST_AUTO_TEST_CASE(right_gradients_raise_no_alarm) {
  FalseAlarms right;
  for (uint64_t seed = 100001; seed <= 100200; ++seed) check_right(seed, 512, right);
  for (const std::string& alarm : right.alarms) BOOST_ERROR(alarm);
}

// A million outputs: what rounding makes of their sum must not hide the derivative.
BOOST_AUTO_TEST_CASE(many_outputs_can_be_told) {
  FalseAlarms right;
  check_right(3236, 4096, right);
  for (const std::string& alarm : right.alarms) BOOST_ERROR(alarm);
  BOOST_TEST(right.unresolved == 0);
}

BOOST_AUTO_TEST_CASE(an_op_gets_its_own_backward_back) {
  const Mutant mutant = elementwise_mutants()[0];
  Op* op = find_op(mutant.op);
  const Op::BackwardFunction before = op->backward;
  {
    const Mutated mutated(mutant);
    BOOST_TEST((op->backward == mutant.backward));
  }
  BOOST_TEST((op->backward == before));
}

// PyTorch's rules are rules: right gradients pass, and one that is far off does not.
BOOST_AUTO_TEST_CASE(pytorchs_rules_tell_right_from_wrong) {
  for (const char* name : {"exp", "matmul", "layer_norm"})
    for (const Mutant& mutant : all_mutants()) {
      if (mutant.op != name) continue;
      const Trial trial = mutant.trial(1);
      BOOST_TEST(passes_slow_rule(trial), name);
      BOOST_TEST(passes_fast_rule(trial, 1), name);
      break;
    }
  const Mutant wrong = elementwise_mutants()[2];
  const Mutated mutated(wrong);
  BOOST_TEST(!passes_slow_rule(wrong.trial(1)));
  BOOST_TEST(!passes_fast_rule(wrong.trial(1), 1));
}
