#include <gradus/autograd/ops/conv.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/conv_transpose.h>

namespace gradus {

static ModuleSamples conv2d_row("Conv2d", [] {
  return std::vector{
      module_sample("3x3, padded", Conv2d(2, 3, 3, {.padding = 1}), sample({2, 2, 4, 5}, 1)),
      module_sample("strided, dilated, two groups, without bias",
                    Conv2d(2, 4, 2, {.stride = 2, .dilation = 2, .groups = 2, .bias = false}),
                    sample({3, 2, 5, 6}, 1))};
});

static ModuleSamples conv1d_row("Conv1d", [] {
  return std::vector{
      module_sample("3, same size", Conv1d(2, 3, 3, {.padding = Padding::same()}),
                    sample({2, 2, 5}, 1)),
      module_sample("strided, dilated, two groups, without bias",
                    Conv1d(2, 4, 2, {.stride = 2, .dilation = 2, .groups = 2, .bias = false}),
                    sample({3, 2, 6}, 1))};
});

static ModuleSamples conv_transpose2d_row("ConvTranspose2d", [] {
  return std::vector{
      module_sample("2x3, doubled", ConvTranspose2d(3, 2, {2, 3}, {.stride = 2, .padding = {0, 1}}),
                    sample({2, 3, 3, 2}, 1)),
      module_sample("dilated, two groups, without bias",
                    ConvTranspose2d(
                        2, 4, 2, {.output_padding = 1, .dilation = 2, .groups = 2, .bias = false}),
                    sample({3, 2, 3, 4}, 1))};
});

static ModuleSamples conv_transpose1d_row("ConvTranspose1d", [] {
  return std::vector{module_sample(
      "3, doubled", ConvTranspose1d(3, 2, 3, {.stride = 2, .padding = 1, .output_padding = 1}),
      sample({2, 3, 4}, 1))};
});

}  // namespace gradus
