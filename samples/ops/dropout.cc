#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

static OpSamples dropout_row("dropout", [] {
  return std::vector{OpSample{"(3, 5)", {sample({3, 5}, 1)}, [](std::span<const Tensor> x) {
                                Generator generator(3);
                                return dropout(x[0], 0.4, true, generator);
                              }}};
});

}  // namespace gradus
