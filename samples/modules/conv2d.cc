#include <gradus/autograd/ops/conv.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/conv2d.h>

namespace gradus {

static ModuleSamples conv2d_row("Conv2d", [] {
  return std::vector{
      module_sample("3x3, padded", Conv2d(2, 3, 3, {.padding = 1}), sample({2, 2, 4, 5}, 1)),
      module_sample("strided, dilated, two groups, without bias",
                    Conv2d(2, 4, 2, {.stride = 2, .dilation = 2, .groups = 2, .bias = false}),
                    sample({3, 2, 5, 6}, 1))};
});

}  // namespace gradus
