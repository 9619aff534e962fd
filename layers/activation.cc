#include <gradus/autograd/sample.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/gradcheck.h>

namespace gradus {

namespace {

template <class M>
std::vector<ModuleSample> samples() {
  return {module_sample("(3, 5)", M(), sample({3, 5}, 1))};
}

ModuleRow rows[] = {{"Relu", samples<Relu>},         {"Tanh", samples<Tanh>},
                    {"Sigmoid", samples<Sigmoid>},   {"Silu", samples<Silu>},
                    {"Softplus", samples<Softplus>}, {"Gelu", samples<Gelu>},
                    {"Identity", samples<Identity>}};

}  // namespace

}  // namespace gradus
