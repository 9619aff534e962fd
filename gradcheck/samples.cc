#include <gradus/gradcheck/samples.h>

#include <algorithm>
#include <random>

namespace gradus {

namespace {

constinit OpSamples* first_op = nullptr;
constinit ModuleSamples* first_module = nullptr;

/// The rows of a list, sorted by what name(row) gives.
template <class Row, class Name>
std::vector<const Row*> sorted_rows(const Row* first, Name name) {
  std::vector<const Row*> rows;
  for (const Row* row = first; row; row = row->next) rows.push_back(row);
  std::sort(rows.begin(), rows.end(), [&](const Row* a, const Row* b) {
    return std::string_view(name(*a)) < std::string_view(name(*b));
  });
  return rows;
}

}  // namespace

OpSamples::OpSamples(const char* op_name, Make make_samples)
    : op(op_name), make(make_samples), next(first_op) {
  first_op = this;
}

std::vector<const OpSamples*> all_op_samples() {
  return sorted_rows<OpSamples>(first_op, [](const OpSamples& row) { return row.op; });
}

std::vector<OpSample> op_samples(std::string_view op) {
  for (const OpSamples* row = first_op; row; row = row->next)
    if (op == row->op) return row->make();
  return {};
}

ModuleSamples::ModuleSamples(const char* module_name, Make make_samples)
    : module(module_name), make(make_samples), next(first_module) {
  first_module = this;
}

std::vector<const ModuleSamples*> all_module_samples() {
  return sorted_rows<ModuleSamples>(first_module,
                                    [](const ModuleSamples& row) { return row.module; });
}

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
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (double& value : values)
    value = low + (high - low) * (static_cast<double>(bits() >> 11) * 0x1p-53);
  return Tensor::from(values, shape).set_requires_grad();
}

std::vector<OpSample> broadcast_samples(Tensor (*f)(const Tensor&, const Tensor&), double low_a,
                                        double high_a, double low_b, double high_b) {
  std::vector<OpSample> samples;
  const std::pair<Shape, Shape> shapes[] = {
      {{3, 4}, {3, 4}}, {{3, 4}, {4}}, {{5, 1}, {3, 1, 4}}, {{2, 3, 1, 4}, {3, 2, 1}}, {{}, {3}}};
  for (const auto& [a, b] : shapes)
    samples.push_back({str(a) + " with " + str(b),
                       {sample(a, 1, low_a, high_a), sample(b, 2, low_b, high_b)},
                       [f](std::span<const Tensor> x) { return f(x[0], x[1]); }});
  return samples;
}

}  // namespace gradus
