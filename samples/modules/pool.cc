#include <gradus/gradcheck/samples.h>
#include <gradus/layers/pool.h>

namespace gradus {

namespace {

template <class M>
std::vector<ModuleSample> samples() {
  return {module_sample("2", M(2), sample({2, 3, 5, 4}, 1)),
          module_sample("2x3", M({2, 3}), sample({2, 3, 5, 4}, 1))};
}

template <class M>
std::vector<ModuleSample> samples_of_rows() {
  return {module_sample("2", M(2), sample({2, 3, 5}, 1))};
}

}  // namespace

static ModuleSamples rows[] = {{"MaxPool2d", samples<MaxPool2d>},
                               {"AvgPool2d", samples<AvgPool2d>},
                               {"AdaptiveAvgPool2d", samples<AdaptiveAvgPool2d>},
                               {"MaxPool1d", samples_of_rows<MaxPool1d>},
                               {"AvgPool1d", samples_of_rows<AvgPool1d>},
                               {"AdaptiveAvgPool1d", samples_of_rows<AdaptiveAvgPool1d>}};

}  // namespace gradus
