#include <gradus/gradcheck/samples.h>
#include <gradus/layers/activation.h>

namespace gradus {

namespace {

template <class M>
std::vector<ModuleSample> samples() {
  return {module_sample("(3, 5)", M(), sample({3, 5}, 1))};
}

}  // namespace

static ModuleSamples rows[] = {{"Relu", samples<Relu>},
                               {"Tanh", samples<Tanh>},
                               {"Sigmoid", samples<Sigmoid>},
                               {"Silu", samples<Silu>},
                               {"Softplus", samples<Softplus>},
                               {"Gelu", samples<Gelu>},
                               {"Identity", samples<Identity>},
                               {"Softmax", samples<Softmax>},
                               {"LogSoftmax", samples<LogSoftmax>}};

}  // namespace gradus
