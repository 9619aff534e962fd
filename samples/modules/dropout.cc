#include <gradus/gradcheck/samples.h>
#include <gradus/layers/dropout.h>

namespace gradus {

static ModuleSamples dropout_row("Dropout", [] {
  return std::vector{module_sample("in training", Dropout(0.4), sample({3, 5}, 1))};
});

}  // namespace gradus
