#include <gradus/base/detail/named.h>
#include <gradus/gradcheck/samples.h>

#include <random>

namespace gradus {

namespace {

constinit const OpSamples* first_op = nullptr;
constinit const ModuleSamples* first_module = nullptr;

}  // namespace

OpSamples::OpSamples(const char* op_name, Make make_samples)
    : name(op_name), make(make_samples), next(first_op) {
  first_op = this;
}

std::vector<const OpSamples*> all_op_samples() { return detail::sorted_rows(first_op); }

std::vector<OpSample> op_samples(std::string_view op) {
  for (const OpSamples* row = first_op; row; row = row->next)
    if (op == row->name) return row->make();
  return {};
}

ModuleSamples::ModuleSamples(const char* module_name, Make make_samples)
    : name(module_name), make(make_samples), next(first_module) {
  first_module = this;
}

std::vector<const ModuleSamples*> all_module_samples() { return detail::sorted_rows(first_module); }

void fill_for_check(Module& module) {
  module.to(DType::f64);
  for (auto& [path, tensor] : module.state()) {
    if (!is_floating(tensor.dtype())) continue;
    Generator generator(1, path);
    const bool matrix = tensor.ndim() > 1;
    raw::copy(
        uniform(tensor.shape(), matrix ? -0.8 : 0.4, matrix ? 0.8 : 1.6, generator, DType::f64),
        tensor);
  }
}

Tensor sample(const Shape& shape, uint64_t seed, double low, double high) {
  std::mt19937_64 bits(seed);
  Tensor x = empty(shape, DType::f64);
  double* values = x.mutable_data<double>();
  for (int64_t i = 0; i < x.numel(); ++i)
    values[i] = low + (high - low) * (static_cast<double>(bits() >> 11) * 0x1p-53);
  return x.set_requires_grad();
}

}  // namespace gradus
