// The k-th request for memory fails, once or from there on, for each k, while a small model is
// recorded and swept: no gradient is lost or wrong, and the tape goes on or says that it cannot.
#define BOOST_TEST_MODULE tape_faults
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>

#include <functional>

#include "tests/faults.h"

using namespace gradus;

namespace {

using Bits = std::vector<std::vector<double>>;

/// Many leaves, so that each of the tape's arrays grows more than once.
struct Model {
  Model() {
    Generator generator(7);
    for (int i = 0; i < 70; ++i)
      leaves.push_back(
          randn(i % 2 ? Shape{3} : Shape{3, 3}, generator, DType::f64).set_requires_grad());
    x = randn({4, 3}, generator, DType::f64);
  }
  Tensor operator()(size_t from = 0, size_t to = 70) const {
    Tensor h = x;
    for (size_t i = from; i + 1 < to; i += 2) {
      h = tanh(matmul(h, leaves[i]) + leaves[i + 1]) + leaves[i + 1];
      if (i % 10 == 0) h = stack(unbind(h, 0), 0) * sum(leaves[i], {0});
      if (i % 14 == 0) h = layer_norm(h, Shape{3}, leaves[i + 1], leaves[i + 1]);
    }
    return sum(h * h);
  }
  Bits gradients() const {
    Bits all;
    for (const Tensor& leaf : leaves)
      all.push_back(leaf.grad() ? leaf.grad().to_vector<double>() : std::vector<double>());
    return all;
  }
  void forget() {
    for (Tensor& leaf : leaves) leaf.set_grad({});
  }
  std::vector<Tensor> leaves;
  Tensor x;
};

struct Fixture {
  Fixture() {
    set_threads(1);
    { Tape first; }  // what a thread asks for once
    Tape tape;
    tape.backward(model());
    right = model.gradients();
    model.forget();
  }

  void each_fault(const std::function<bool(int64_t, bool)>& f) {
    BOOST_TEST(test::each_fault(f) > 50);
  }

  Model model;
  Bits right;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_fault_in_recording_leaves_the_tape_whole, Fixture) {
  each_fault([&](int64_t k, bool for_good) {
    Tape tape;
    const bool failed = test::with_fault(k, for_good, [&] { model(); }).refused;
    tape.backward(model());
    if (model.gradients() != right) BOOST_ERROR("wrong gradients after fault " << k);
    model.forget();
    return failed;
  });
}

BOOST_FIXTURE_TEST_CASE(a_fault_in_backward_leaves_every_gradient_as_it_was, Fixture) {
  for (const bool first : {true, false}) {
    Bits before(right.size());
    if (!first) {
      Tape tape;
      tape.backward(model(0, 60));  // some leaves have a gradient, others none
      before = model.gradients();
    }
    Bits sums(right.size());
    {
      Tape tape;
      tape.backward(model());
      sums = model.gradients();
    }
    const auto put_back = [&] {
      model.forget();
      if (first) return;
      Tape tape;
      tape.backward(model(0, 60));
    };
    put_back();
    each_fault([&](int64_t k, bool for_good) {
      Tape tape;
      const Tensor loss = model();
      const bool failed = test::with_fault(k, for_good, [&] { tape.backward(loss); }).refused;
      if (failed) {
        if (model.gradients() != before) BOOST_ERROR("a gradient changed at fault " << k);
        try {
          tape.backward(loss);
        } catch (const Error&) {  // says that what it kept is gone
          Tape next;
          next.backward(model());
        }
      }
      if (model.gradients() != sums) BOOST_ERROR("wrong gradients after fault " << k);
      put_back();
      return failed;
    });
    put_back();
    model.forget();
  }
}

BOOST_FIXTURE_TEST_CASE(a_fault_in_gradient_leaves_a_kept_graph_as_it_was, Fixture) {
  Tape outer;
  const Tensor loss = model(0, 30);
  const auto gradients = [&](CreateGraph create_graph) {
    Bits bits;
    for (const Tensor& dx : outer.gradient(loss, std::span(model.leaves.data(), 30),
                                           {.create_graph = create_graph, .keep_graph = true}))
      bits.push_back(dx.to_vector<double>());
    return bits;
  };
  const Bits expected = gradients(CreateGraph::no);
  for (const CreateGraph create_graph : {CreateGraph::no, CreateGraph::yes})
    each_fault([&](int64_t k, bool for_good) {
      const bool failed = test::with_fault(k, for_good, [&] {
                            outer.gradient(loss, {model.leaves[0], model.leaves[29]},
                                           {.create_graph = create_graph, .keep_graph = true});
                          }).refused;
      if (gradients(CreateGraph::no) != expected) BOOST_ERROR("wrong after fault " << k);
      return failed;
    });
}

BOOST_FIXTURE_TEST_CASE(a_fault_in_a_nested_tape_leaves_the_outer_one, Fixture) {
  each_fault([&](int64_t k, bool for_good) {
    Tape outer;
    const Tensor half = model(0, 40);
    const bool failed = test::with_fault(k, for_good, [&] {
                          Tape inner;
                          inner.gradient(model(0, 6), model.leaves[1]);
                        }).refused;
    BOOST_TEST_REQUIRE((Tape::current() == &outer));
    outer.backward(half);
    Bits gradients = model.gradients();
    model.forget();
    Tape tape;
    tape.backward(model(0, 40));
    if (gradients != model.gradients()) BOOST_ERROR("wrong after fault " << k);
    model.forget();
    return failed;
  });
}
