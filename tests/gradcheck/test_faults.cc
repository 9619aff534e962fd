// Every k-th request for memory refused, once and for good, in each op's samples, forward and back,
// and in a training step of each model: what comes out is bad_alloc or Error, and the next run, on
// the same tensors, gives the bits that it gave before.
#define BOOST_TEST_MODULE faults
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/optim/adam.h>

#include "tests/checks.h"
#include "tests/faults.h"
#include "tests/models/small_models.h"

using namespace gradus;
using test::Fault;

namespace {

using Bits = std::vector<std::vector<double>>;

struct OneThread {
  OneThread() { set_threads(1); }
};
BOOST_TEST_GLOBAL_FIXTURE(OneThread);

bool same(const Bits& a, const Bits& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    for (size_t j = 0; j < a[i].size(); ++j)
      if (!(a[i][j] == b[i][j]) && !(std::isnan(a[i][j]) && std::isnan(b[i][j]))) return false;
  }
  return true;
}

/// The result's values and the gradients.
Bits run(const OpSample& s, CreateGraph create_graph) {
  Tape tape;
  const Tensor y = s.f(s.inputs);
  Bits bits{y.to_vector<double>()};
  if (!needs_grad(y)) return bits;
  for (const Tensor& dx : tape.gradient(
           y, s.inputs, {.create_graph = create_graph, .dy = ones_like(y), .allow_unused = true}))
    bits.push_back(dx ? dx.to_vector<double>() : std::vector<double>());
  return bits;
}

Bits values(const NamedTensors& tensors) {
  Bits bits;
  for (const auto& [name, x] : tensors) bits.push_back(x.to_vector<double>());
  return bits;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_op) {
  int64_t faults = 0, samples = 0;
  for (const OpSamples* op : all_op_samples())
    for (const OpSample& s : op->make()) {
      const CreateGraph create_graph = ++samples % 2 ? CreateGraph::no : CreateGraph::yes;
      Bits right;
      try {
        right = run(s, create_graph);
      } catch (const Error&) {
        continue;  // draws: not twice the same
      }
      if (!same(run(s, create_graph), right)) continue;
      BOOST_TEST_CONTEXT(op->name << ", " << s.label)
      faults += test::each_fault([&](int64_t k, bool for_good) {
        const Fault fault = test::with_fault(k, for_good, [&] { run(s, create_graph); });
        BOOST_TEST_REQUIRE((Tape::current() == nullptr));
        if (k % 8 == 0 && !same(run(s, create_graph), right))
          BOOST_ERROR("wrong after request " << k);
        return fault.refused;
      });
    }
  BOOST_TEST_MESSAGE(faults << " refusals in " << samples << " samples");
  BOOST_TEST(faults > 5000);
}

// A refused step changes nothing that is trained: begun again it gives the bits of one that was not
// refused.
BOOST_AUTO_TEST_CASE(a_step_of_each_model) {
  int64_t faults = 0;
  for (const char* name : test::kModels) {
    AnyModule owner = test::make(name, Norm::layer, 4);
    UnaryModule& model = *owner;
    model.initialize(1);
    Adam optimizer(model.parameters());
    const Tensor x = test::inputs(name, 2, 1), labels = Tensor::of({1, 3}, DType::i64);
    const auto step = [&] {
      optimizer.zero_grad();
      {
        Tape tape;
        tape.backward(cross_entropy(model.forward(x), labels));
      }
      optimizer.step();
    };
    step();
    const NamedTensors model_state = model.state(), optimizer_state = optimizer.state();
    NamedTensors kept;
    for (const auto& [key, value] : model_state) kept.emplace_back(key, raw::clone(value));
    const auto put_back = [&] {
      model.load_state(kept);
      optimizer.load_state(optimizer_state);
    };
    step();
    const Bits after = values(model.state());
    put_back();
    const Bits before = values(model.state());
    BOOST_TEST_CONTEXT(name)
    faults += test::each_fault([&](int64_t k, bool for_good) {
      const Fault fault = test::with_fault(k, for_good, step);
      const Bits found = values(model.state());
      if (!same(found, fault.threw ? before : after)) BOOST_ERROR("half a step, request " << k);
      if (fault.threw) step();
      if (!same(values(model.state()), after)) BOOST_ERROR("a wrong step after request " << k);
      put_back();
      return fault.refused;
    });
  }
  BOOST_TEST_MESSAGE(faults << " refusals in steps");
  BOOST_TEST(faults > 500);
}
