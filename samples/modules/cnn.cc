#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/activation.h>
#include <gradus/models/cnn.h>

namespace gradus {

static ModuleSamples residual_block_row("ResidualBlock", [] {
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    samples.push_back(
        module_sample(name(norm), ResidualBlock(2, 3, 2, 4, 4, norm), sample({3, 2, 4, 4}, 1)));
  return samples;
});

static ModuleSamples cnn_row("Cnn", [] {
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    samples.push_back(module_sample(name(norm), Cnn(1, 4, 5, 3, {.channels = {2, 3}, .norm = norm}),
                                    sample({3, 1, 4, 5}, 1)));
  return samples;
});

}  // namespace gradus
