#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/models/mlp.h>

namespace gradus {

static ModuleSamples mlp_row("Mlp", [] {
  std::vector<ModuleSample> samples;
  for (Norm norm : all_norms())
    samples.push_back(
        module_sample(name(norm), Mlp(4, 3, {.hidden = {5}, .norm = norm}), sample({4, 4}, 1)));
  return samples;
});

}  // namespace gradus
