#include "tests/mutations/mutant.h"

#include <gradus/autograd/functional/functional.h>

#include <cassert>
#include <utility>

namespace gradus::mutations {

namespace {
Op* mutated = nullptr;
Op::BackwardFunction its_own = nullptr;
}  // namespace

Mutated::Mutated(const Mutant& mutant) {
  assert(!mutated);
  mutated = find_op(mutant.op);
  check(mutated != nullptr, "there is no op '{}' to mutate", mutant.op);
  its_own = std::exchange(mutated->backward, mutant.backward);
}

Mutated::~Mutated() { std::exchange(mutated, nullptr)->backward = its_own; }

void right_backward(Backward& ctx) { its_own(ctx); }

std::vector<Tensor> right(const Function& f, const std::vector<Tensor>& xs, const Tensor& dy) {
  std::vector<Tensor> in;
  for (const Tensor& x : xs) in.push_back(raw::clone(x));
  const Op::BackwardFunction wrong = std::exchange(mutated->backward, its_own);
  std::vector<Tensor> dx = vjp(f, in, dy);
  mutated->backward = wrong;
  return dx;
}

Tensor copy_of(const Tensor& x) { return raw::clone(x); }
double* values(Tensor& x) { return x.mutable_data<double>(); }

Tensor with_entry(const Tensor& dx, int64_t k, double factor) {
  Tensor changed = copy_of(dx);
  values(changed)[k] *= factor;
  return changed;
}

Tensor normal(const Shape& shape, uint64_t seed, const char* name, double mean, double deviation) {
  Generator generator(seed, name);
  Tensor x = randn(shape, generator, DType::f64);
  for (int64_t k = 0; k < x.numel(); ++k) values(x)[k] = mean + deviation * values(x)[k];
  return x.set_requires_grad().set_name(name);
}

Tensor between(double low, double high, const Shape& shape, uint64_t seed, const char* name) {
  Generator generator(seed, name);
  return uniform(shape, low, high, generator, DType::f64).set_requires_grad().set_name(name);
}

std::function<Trial(uint64_t)> of_x(const Shape& shape, Function f) {
  return [=](uint64_t seed) { return Trial{{normal(shape, seed, "x")}, f}; };
}

std::function<Trial(uint64_t)> of_ab(const Shape& a, const Shape& b, Function f) {
  return [=](uint64_t seed) { return Trial{{normal(a, seed, "a"), normal(b, seed, "b")}, f}; };
}

std::function<Trial(uint64_t)> of_layer(const Shape& x, const Shape& weight, const Shape& bias,
                                        Function f) {
  return [=](uint64_t seed) {
    return Trial{{normal(x, seed, "x"), normal(weight, seed, "weight"), normal(bias, seed, "bias")},
                 f};
  };
}

std::vector<Mutant> all_mutants() {
  std::vector<Mutant> all;
  for (auto family : {elementwise_mutants, shape_mutants, product_mutants, norm_mutants,
                      loss_mutants, layer_mutants, recurrent_mutants})
    for (Mutant& mutant : family()) all.push_back(std::move(mutant));
  return all;
}

}  // namespace gradus::mutations
