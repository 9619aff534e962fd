#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>

#include <cmath>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

namespace {

std::function<Trial(uint64_t)> of_positive(const Shape& shape, Function f) {
  return [=](uint64_t seed) { return Trial{{between(0.3, 2.5, shape, seed, "x")}, f}; };
}

/// Of a (4, 5) and b, repeated over the rows of a or not, both positive.
std::function<Trial(uint64_t)> of_quotient(const Shape& b, Function f) {
  return [=](uint64_t seed) {
    return Trial{{between(0.5, 2, {4, 5}, seed, "a"), between(0.5, 2, b, seed, "b")}, f};
  };
}

const Function kAdd = [](const Tensor& a, const Tensor& b) { return a + b; };
const Function kSub = [](const Tensor& a, const Tensor& b) { return a - b; };
const Function kMul = [](const Tensor& a, const Tensor& b) { return a * b; };
const Function kDiv = [](const Tensor& a, const Tensor& b) { return a / b; };
const Function kMaximum = [](const Tensor& a, const Tensor& b) { return maximum(a, b); };
const Function kMinimum = [](const Tensor& a, const Tensor& b) { return minimum(a, b); };
const Function kWhere = [](const Tensor& a, const Tensor& b) {
  Generator generator(5);
  return where(less(rand(a.shape(), generator, DType::f64), 0.5), a, b);
};
const Function kDropout = [](const Tensor& x) {
  Generator generator(3);
  return dropout(x, 0.4, true, generator);
};

}  // namespace

std::vector<Mutant> elementwise_mutants() {
  const char* const family = "elementwise";
  return {
      {family,
       "tanh",
       "1 - |y| for 1 - y^2",
       [](Backward& c) { c.set(0, c.dy() * (1.0 - abs(c.kept(0)))); },
       of_x({3, 4}, tanh),
       {"x"}},
      {family,
       "sigmoid",
       "the factor 1 - y dropped",
       [](Backward& c) { c.set(0, c.dy() * c.kept(0)); },
       of_x({3, 4}, sigmoid),
       {"x"}},
      {family,
       "exp",
       "the factor y dropped",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({3, 4}, exp),
       {"x"}},
      {family,
       "sin",
       "-cos for cos",
       [](Backward& c) { c.set(0, -c.dy() * cos(c.kept(0))); },
       of_x({3, 4}, sin),
       {"x"},
       Pattern::factor},
      {family,
       "relu",
       "mask not applied",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({4, 6}, relu),
       {"x"},
       Pattern::mask_not_applied},
      {family,
       "clamp",
       "mask not applied",
       [](Backward& c) { c.set(0, c.dy()); },
       of_x({4, 6}, [](const Tensor& x) { return clamp(x, -0.9, 1.1); }),
       {"x"},
       Pattern::mask_not_applied},
      {family,
       "gelu",
       "the term x phi(x) dropped",
       [](Backward& c) { c.set(0, c.dy() * (0.5 * (1.0 + erf(c.kept(0) * std::sqrt(0.5))))); },
       of_x({3, 4}, [](const Tensor& x) { return gelu(x); }),
       {"x"}},
      {family,
       "silu",
       "the term of the product rule dropped",
       [](Backward& c) { c.set(0, c.dy() * sigmoid(c.kept(0))); },
       of_x({3, 4}, silu),
       {"x"}},
      {family,
       "square",
       "x for 2 x",
       [](Backward& c) { c.set(0, c.dy() * c.kept(0)); },
       of_x({7}, square),
       {"x"},
       Pattern::factor},
      {family,
       "sqrt",
       "1 / y for 1 / (2 y)",
       [](Backward& c) { c.set(0, c.dy() / c.kept(0)); },
       of_positive({7}, sqrt),
       {"x"},
       Pattern::factor},
      {family,
       "log",
       "x for 1 / x",
       [](Backward& c) { c.set(0, c.dy() * c.kept(0)); },
       of_positive({3, 4}, log),
       {"x"}},
      {family,
       "erf",
       "the factor 2 / sqrt(pi) dropped",
       [](Backward& c) { c.set(0, c.dy() * exp(-square(c.kept(0)))); },
       of_x({3, 4}, erf),
       {"x"},
       Pattern::factor},
      {family,
       "exp",
       "one entry off by 1e-3",
       [](Backward& c) { c.set(0, with_entry(c.dy() * c.kept(0), 7, 1 + 1e-3)); },
       of_x({3, 4}, exp),
       {"x"},
       Pattern::factor},
      {family,
       "tanh",
       "one entry off by 1e-6",
       [](Backward& c) { c.set(0, with_entry(c.dy() * (1.0 - square(c.kept(0))), 5, 1 + 1e-6)); },
       of_x({3, 4}, tanh),
       {"x"},
       Pattern::factor},
      {family,
       "softplus",
       "all entries off by 1e-6",
       [](Backward& c) { c.set(0, c.dy() * sigmoid(c.kept(0)) * (1 + 1e-6)); },
       of_x({3, 4}, softplus),
       {"x"},
       Pattern::factor},

      {family,
       "add",
       "broadcast not reduced: the first row for the sum of all",
       [](Backward& c) {
         c.set(0, c.dy());
         c.set(1, select(c.dy(), 0, 0));
       },
       of_ab({4, 5}, {5}, kAdd),
       {"b"},
       Pattern::broadcast_unreduced},
      {family,
       "add",
       "x + x: the second gradient overwrites the first (tinygrad, 2020)",
       [](Backward& c) { c.set(1, c.dy()); },
       of_x({3, 4}, [](const Tensor& x) { return x + x; }),
       {"x"},
       Pattern::overwritten},
      {family,
       "sub",
       "db with a's sign",
       [](Backward& c) {
         c.set(0, c.dy());
         c.set(1, c.dy());
       },
       of_ab({3, 4}, {3, 4}, kSub),
       {"b"},
       Pattern::factor},
      {family,
       "mul",
       "db = dy b for dy a",
       [](Backward& c) {
         c.set(0, c.dy() * c.kept(1));
         c.set(1, c.dy() * c.kept(1));
       },
       of_ab({3, 4}, {3, 4}, kMul),
       {"b"},
       Pattern::swapped_inputs},
      {family,
       "mul",
       "x tanh(x): the second gradient overwrites the first",
       [](Backward& c) { c.set(1, c.dy() * c.kept(0)); },
       of_x({3, 4}, [](const Tensor& x) { return x * tanh(x); }),
       {"x"},
       Pattern::overwritten},
      {family,
       "mul",
       "detached: no gradient of a",
       [](Backward& c) { c.set(1, c.dy() * c.kept(0)); },
       of_ab({3, 4}, {3, 4}, kMul),
       {"a"},
       Pattern::no_gradient},
      {family,
       "div",
       "db with the wrong sign",
       [](Backward& c) {
         c.set(0, c.dy() / c.kept(1));
         c.set(1, c.dy() * c.kept(0) / c.kept(1));
       },
       of_quotient({4, 5}, kDiv),
       {"b"},
       Pattern::factor},
      {family,
       "div",
       "db = -dy a / b for -dy a / b^2",
       [](Backward& c) {
         c.set(0, c.dy() / c.kept(1));
         c.set(1, sum(-c.dy() * c.kept(0), {0}));
       },
       of_quotient({5}, kDiv),
       {"b"},
       Pattern::factor_per_group},
      {family,
       "div",
       "the mean for the sum over a broadcast",
       [](Backward& c) {
         c.set(0, c.dy() / c.kept(1));
         c.set(1, mean(-c.dy() * c.kept(0) / c.kept(1), {0}));
       },
       of_quotient({5}, kDiv),
       {"b"},
       Pattern::factor},
      {family,
       "pow",
       "a^b for a^(b-1)",
       [](Backward& c) {
         const Tensor a = c.kept(0), b = c.kept(1);
         c.set(0, c.dy() * b * pow(a, b));
         c.set(1, c.dy() * c.kept(2) * log(a));
       },
       of_quotient({4, 5}, [](const Tensor& a, const Tensor& b) { return pow(a, b); }),
       {"a"}},
      {family,
       "maximum",
       "da with no mask",
       [](Backward& c) {
         c.set(0, c.dy());
         c.set(1, where(greater(c.kept(1), c.kept(0)), c.dy(), zeros({}, DType::f64)));
       },
       of_ab({4, 5}, {4, 5}, kMaximum),
       {"a"},
       Pattern::mask_not_applied},
      {family,
       "minimum",
       "the mask of the other input",
       [](Backward& c) {
         const Tensor zero = zeros({}, DType::f64), a_less = less(c.kept(0), c.kept(1));
         c.set(0, where(a_less, zero, c.dy()));
         c.set(1, where(a_less, c.dy(), zero));
       },
       of_ab({4, 5}, {4, 5}, kMinimum),
       {"a", "b"},
       Pattern::swapped_inputs},
      {family,
       "where",
       "mask not applied to a",
       [](Backward& c) {
         c.set(0, c.dy());
         c.set(1, where(c.kept(0), zeros({}, DType::f64), c.dy()));
       },
       of_ab({4, 5}, {4, 5}, kWhere),
       {"a"},
       Pattern::mask_not_applied},
      {family,
       "dropout",
       "mask not applied",
       [](Backward& c) { c.set(0, c.dy() / 0.6); },
       of_x({4, 5}, kDropout),
       {"x"},
       Pattern::mask_not_applied},
      {family,
       "dropout",
       "the factor 1 / (1 - p) dropped",
       [](Backward& c) { c.set(0, where(c.kept(0), c.dy(), zeros({}, DType::f64))); },
       of_x({4, 5}, kDropout),
       {"x"},
       Pattern::factor},
  };
}

}  // namespace gradus::mutations
