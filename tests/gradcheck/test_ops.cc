#define BOOST_TEST_MODULE ops_gradcheck
#include <gradus/autograd/ops/reduce.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/samples.h>

#include <boost/test/unit_test.hpp>
#include <set>

using namespace gradus;

namespace {

/// The names of all ops that f records, and that its gradient records.
void collect(const OpSample& sample, std::set<std::string>& seen) {
  Tape tape;
  const Tensor y = sample.f(sample.inputs);
  tape.gradient(y, sample.inputs,
                {.create_graph = CreateGraph::yes, .dy = ones_like(y), .allow_unused = true});
  for (uint32_t i = 0; i < tape.size(); ++i) seen.insert(tape.info(i).op);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_op_is_right_to_second_order) {
  for (const Op* op : all_ops()) {
    for (const OpSample& sample : op_samples(op->name)) {
      BOOST_TEST_CONTEXT(op->name << ", " << sample.label) {
        const GradcheckReport first = gradcheck(sample.f, sample.inputs);
        BOOST_TEST(first.ok(), first.text());
        try {
          const GradcheckReport second = gradgradcheck(sample.f, sample.inputs);
          BOOST_TEST(second.ok(), second.text());
        } catch (const Error& error) {
          BOOST_TEST(false, error.what());
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(every_op_is_reached_by_a_sample) {
  std::set<std::string> seen;
  for (const Op* op : all_ops()) {
    for (const OpSample& sample : op_samples(op->name)) collect(sample, seen);
  }
  // Differences cannot be taken through f32; tests/reference/test_ops.cc has its cases.
  seen.insert("cast");
  for (const Op* op : all_ops()) BOOST_TEST(seen.contains(op->name), op->name << " has no sample");
}

// A row whose name is no op's would be checked by nobody.
BOOST_AUTO_TEST_CASE(every_row_of_samples_is_an_ops) {
  for (const OpSamples* row : all_op_samples()) {
    BOOST_TEST(find_op(row->name), row->name << " has samples and is no op");
    BOOST_TEST(!row->make().empty(), row->name << " has an empty row of samples");
  }
}
