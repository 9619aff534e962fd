// Every request for memory fails once, and then all after it: what was asked for is done or not at
// all.
#define BOOST_TEST_MODULE optimizer_allocations
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/optim/adagrad.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/lbfgs.h>
#include <gradus/optim/lion.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/runtime.h>

#include <functional>
#include <memory>

#include "tests/checks.h"
#include "tests/faults.h"
#include "tests/optim/running_mean.h"

using namespace gradus;
using test::maker;
using test::RunningMean;
using test::wave;

namespace {

const std::pair<const char*, test::MakeOptimizer> kOptimizers[] = {
    {"Sgd", maker<Sgd>(SgdOptions{.momentum = 0.9})},
    {"AdamW", maker<AdamW>(AdamWOptions{})},
    {"AMSGrad", maker<Adam>(AdamOptions{.amsgrad = true})},
    {"Adagrad", maker<Adagrad>(AdagradOptions{})},
    {"Lion", maker<Lion>(LionOptions{})},
    {"Rmsprop", maker<Rmsprop>(RmspropOptions{.momentum = 0.9, .centered = true})},
    {"of ops", maker<RunningMean>()}};

/// One in row-major order, one that is not, one that threads share, each with its gradient.
std::vector<Tensor> parameters() {
  std::vector<Tensor> p{wave({3, 4}, 1, 0.3), transpose(wave({4, 3}, 1, 0.7)),
                        wave({200, 300}, 1, 0.1)};
  for (Tensor& x : p) {
    x.set_requires_grad();
    x.set_grad(transpose(wave({x.size(1), x.size(0)}, 1, 0.9)));
  }
  return p;
}

using Bits = std::vector<std::vector<double>>;

Bits bits(const Optimizer& optimizer, std::span<const Tensor> parameters) {
  Bits all;
  for (const Tensor& p : parameters) {
    all.push_back(p.to_vector<double>());
    all.push_back(p.grad().to_vector<double>());
  }
  for (const auto& [name, value] : optimizer.state()) all.push_back(value.to_vector<double>());
  return all;
}

/// act() with every k-th request refused, until it asks for fewer; `look` must not change before it
/// succeeds.
template <class Act, class Look>
void refuse_every_request(Act act, Look look) {
  test::each_fault([&](int64_t k, bool for_good) {
    const auto before = look();
    const test::Fault fault = test::with_fault(k, for_good, act);
    if (fault.threw) BOOST_TEST((look() == before), "request " << k);
    return fault.refused;
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(requests_are_refused) {
  const int64_t refused = test::each_fault([](int64_t k, bool for_good) {
    const test::Fault fault = test::with_fault(k, for_good, [] { zeros({1000}); });
    if (for_good) BOOST_TEST(fault.threw == fault.refused);  // one refusal may be tried again
    return fault.refused;
  });
  BOOST_TEST(refused > 0);
}

BOOST_AUTO_TEST_CASE(a_step_without_memory_changes_nothing) {
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p = parameters(), q = parameters();
      const auto optimizer = make(p), other = make(q);
      int64_t steps = 0;
      const auto act = [&] {
        optimizer->step();
        ++steps;
      };
      const auto look = [&] { return bits(*optimizer, p); };
      refuse_every_request(act, look);
      for (Tensor& x : p) {  // moments become f32
        x.set_data(raw::cast(x, DType::f32));
        x.set_grad(zeros_like(x));
      }
      for (; steps > 0; --steps) other->step();
      for (Tensor& x : q) {
        x.set_data(raw::cast(x, DType::f32));
        x.set_grad(zeros_like(x));
      }
      refuse_every_request(act, look);
      for (; steps > 0; --steps) other->step();
      BOOST_TEST((bits(*optimizer, p) == bits(*other, q)));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_state_without_memory_is_not_loaded_in_part) {
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p = parameters(), q = parameters();
      const auto optimizer = make(p), other = make(q);
      other->set_lr(0.3);
      other->step();
      const NamedTensors state = other->state();
      const auto look = [&] { return bits(*optimizer, p); };
      refuse_every_request([&] { optimizer->load_state(state); }, look);
      refuse_every_request([&] { (void)optimizer->state(); }, look);
      refuse_every_request([&] { optimizer->add_group({{Tensor(p[0])}, 0.1}); }, look);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_step_of_lbfgs_without_memory_changes_nothing) {
  Tensor x = Tensor::of({-1.2, 1, 3}, DType::f64).set_requires_grad();
  Lbfgs optimizer({x}, {.max_iter = 2, .line_search_fn = LineSearch::strong_wolfe});
  const auto look = [&] {
    Bits all{x.to_vector<double>()};
    for (const auto& [name, value] : optimizer.state()) all.push_back(value.to_vector<double>());
    return all;
  };
  const auto closure = [&] {
    Tape tape;
    const Tensor loss = sum(square(square(x)) + x);
    x.set_grad({});
    tape.backward(loss);
    return loss;
  };
  closure();  // the thread's first tape
  for (int i = 0; i < 2; ++i) refuse_every_request([&] { optimizer.step(closure); }, look);
  const NamedTensors state = optimizer.state();
  refuse_every_request([&] { optimizer.load_state(state); }, look);
}

BOOST_AUTO_TEST_CASE(clipping_without_memory_changes_nothing) {
  std::vector p = parameters();
  p.push_back(wave({3, 4}, 1, 0.3).set_requires_grad());
  p[3].set_grad(wave({3, 4}, 1, 0.2));
  p[0].set_grad(p[3].grad());
  const Sgd none(std::vector{wave({1}, 1, 1).set_requires_grad()});
  double limit = 1;
  refuse_every_request(
      [&] {
        clip_grad_norm(p, limit);
        limit /= 2;
      },
      [&] { return bits(none, p); });
}
