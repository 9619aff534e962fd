#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> reduce_samples(Tensor (*f)(const Tensor&, const Axes&, bool)) {
  const std::pair<Axes, bool> cases[] = {
      {{}, false}, {{0}, false}, {{1, 2}, true}, {{0, 2}, false}};
  std::vector<OpSample> samples;
  for (const auto& [axes, keepdim] : cases)
    samples.push_back({"(3, 4, 2) over " + str(axes) + (keepdim ? " keepdim" : ""),
                       {sample({3, 4, 2}, 1)},
                       [f, axes = axes, keepdim = keepdim](std::span<const Tensor> x) {
                         return f(x[0], axes, keepdim);
                       }});
  return samples;
}

}  // namespace

static OpSamples sum_row("sum", [] { return reduce_samples(sum); });

static OpSamples var_row("var", [] {
  return reduce_samples(
      [](const Tensor& x, const Axes& axes, bool keepdim) { return var(x, axes, keepdim); });
});

static OpSamples cumsum_row("cumsum", [] {
  return std::vector{OpSample{"(3, 4, 2) along 1",
                              {sample({3, 4, 2}, 1)},
                              [](std::span<const Tensor> x) { return cumsum(x[0], 1); }},
                     OpSample{"(5,)", {sample({5}, 1)}, [](std::span<const Tensor> x) {
                                return cumsum(x[0], 0);
                              }}};
});

static OpSamples max_row("max", [] { return reduce_samples(max); });

static OpSamples min_row("min", [] { return reduce_samples(min); });

}  // namespace gradus
