#include <gradus/gradcheck/samples.h>
#include <gradus/layers/pool.h>

namespace gradus {

namespace {

template <class M>
std::vector<ModuleSample> samples() {
  return {module_sample("2", M(2), sample({2, 3, 5, 4}, 1))};
}

}  // namespace

static ModuleSamples rows[] = {{"MaxPool2d", samples<MaxPool2d>},
                               {"AvgPool2d", samples<AvgPool2d>},
                               {"AdaptiveAvgPool2d", samples<AdaptiveAvgPool2d>}};

}  // namespace gradus
