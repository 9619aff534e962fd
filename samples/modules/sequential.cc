#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>

namespace gradus {

static ModuleSamples sequential_row("Sequential", [] {
  return std::vector{module_sample("Linear, BatchNorm, Tanh, Linear",
                                   Sequential(Linear(3, 4), BatchNorm(4), Tanh(), Linear(4, 2)),
                                   sample({5, 3}, 1)),
                     module_sample("Linear, a function",
                                   Sequential(Linear(3, 4), [](const Tensor& x) { return x * x; }),
                                   sample({5, 3}, 1))};
});

static ModuleSamples lambda_row("Lambda", [] {
  return std::vector{
      module_sample("x^2", Lambda([](const Tensor& x) { return x * x; }), sample({5, 3}, 1))};
});

static ModuleSamples residual_row("Residual", [] {
  return std::vector{
      module_sample("Linear", Residual(Sequential(Linear(3, 3), Tanh())), sample({4, 3}, 1))};
});

}  // namespace gradus
