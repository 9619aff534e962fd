#define BOOST_TEST_MODULE own_op
// What docs/gradient_checking.md shows.
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/gradcheck/module.h>
#include <gradus/models/mlp.h>
#include <gradus/tensor/random.h>

#include "tests/checks.h"

using namespace gradus;

namespace {

// y = w tanh(x):  dx = dy w (1 - tanh^2 x),  dw = sum of dy tanh x over the rows
Op gate_op("gate", [](Backward& ctx) {
  const Tensor x = ctx.kept(0), w = ctx.kept(1), t = tanh(x);
  if (ctx.needs(0)) ctx.set(0, ctx.dy() * w * (1 - square(t)));
  if (ctx.needs(1)) ctx.set(1, sum(ctx.dy() * t, {0}));
});

Tensor gate(const Tensor& x, const Tensor& w) {
  Tensor y;
  {
    const NoRecord pause;
    y = w * tanh(x);
  }
  return record(gate_op, y, {x, w}, {x, w});
}

void first_row_alone(Backward& ctx) {
  const Tensor x = ctx.kept(0), w = ctx.kept(1), t = tanh(x);
  ctx.set(0, ctx.dy() * w * (1 - square(t)));
  ctx.set(1, select(ctx.dy() * t, 0, 0));
}

Tensor leaf(const Shape& shape, const char* name) {
  Generator generator(1, name);
  return randn(shape, generator, DType::f64).set_requires_grad().set_name(name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(gate_is_right) {
  Generator generator(1);
  const Tensor x = randn({4, 5}, generator, DType::f64).set_requires_grad().set_name("x");
  const Tensor w = randn({5}, generator, DType::f64).set_requires_grad().set_name("w");
  BOOST_TEST(gradcheck(gate, {x, w}));
  BOOST_TEST(gradgradcheck(gate, {x, w}));
}

BOOST_AUTO_TEST_CASE(a_wrong_one_is_explained) {
  const Tensor x = leaf({4, 5}, "x"), w = leaf({5}, "w");
  const auto right = std::exchange(gate_op.backward, first_row_alone);
  const GradcheckReport report = gradcheck(gate, {x, w}, {.subject = "gate"});
  gate_op.backward = right;
  BOOST_TEST_MESSAGE(report.table());
  BOOST_TEST(!report.ok());
  const GradcheckInput& of_w = report.inputs[1];
  BOOST_TEST(of_w.where == "all entries; 5 of 5");
  BOOST_TEST((of_w.diagnosis.pattern == Pattern::broadcast_unreduced), report);
}

BOOST_AUTO_TEST_CASE(a_module_is_checked_by_its_parameters_too) {
  Mlp model(4, 3, {.hidden = {5}, .norm = Norm::batch});
  const GradcheckReport report = gradcheck(model, rand({6, 4}));
  BOOST_TEST(report);
  for (const GradcheckInput& input : report.inputs) BOOST_TEST(input.counts.disagree == 0);
}
