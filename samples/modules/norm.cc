#include <gradus/gradcheck/samples.h>
#include <gradus/layers/norm.h>

namespace gradus {

static ModuleSamples no_norm_row("NoNorm", [] {
  return std::vector{module_sample("(3, 5)", NoNorm(), sample({3, 5}, 1)),
                     module_sample("(3, 5) relu", NoNorm(Activation::relu), sample({3, 5}, 1))};
});

}  // namespace gradus
