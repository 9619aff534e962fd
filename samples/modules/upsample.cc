#include <gradus/gradcheck/samples.h>
#include <gradus/layers/upsample.h>

namespace gradus {

static ModuleSamples upsample_row("Upsample", [] {
  return std::vector{
      module_sample("twice, nearest", Upsample({.scale = 2}), sample({2, 3, 2, 3}, 1)),
      module_sample("to 5x2, bilinear",
                    Upsample({.size = Pair(5, 2), .mode = Interpolation::bilinear}),
                    sample({2, 3, 3, 4}, 1))};
});

}  // namespace gradus
