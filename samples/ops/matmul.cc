#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

std::vector<OpSample> matmul_samples() {
  struct Case {
    Shape a, b;
    bool transpose_a, transpose_b;
  };
  const Case cases[] = {{{3, 4}, {4, 5}, false, false},    {{4, 3}, {4, 5}, true, false},
                        {{3, 4}, {5, 4}, false, true},     {{4, 3}, {5, 4}, true, true},
                        {{2, 3, 4}, {4, 5}, false, false}, {{2, 1, 4, 3}, {3, 5, 4}, true, true}};
  std::vector<OpSample> samples;
  for (const Case& c : cases)
    samples.push_back(
        {str(c.a) + (c.transpose_a ? "^T " : " ") + str(c.b) + (c.transpose_b ? "^T" : ""),
         {sample(c.a, 1), sample(c.b, 2)},
         [ta = c.transpose_a, tb = c.transpose_b](std::span<const Tensor> x) {
           return matmul(x[0], x[1], ta, tb);
         }});
  return samples;
}

}  // namespace

static OpSamples matmul_row("matmul", matmul_samples);

}  // namespace gradus
