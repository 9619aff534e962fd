#include <cmath>
#include <numeric>

#include "tests/mutations/table.h"

namespace gradus::mutations {

namespace {

constexpr double kStep = 1e-6, kAbsolute = 1e-5, kRelative = 1e-3;

std::vector<double> evaluate(const Trial& trial) {
  const NoRecord pause;
  return trial.f(trial.inputs).to_vector<double>();
}

bool close(double analytic, double numeric, double absolute) {
  return std::abs(analytic - numeric) <= absolute + kRelative * std::abs(numeric);
}

/// (f(x + step v) - f(x - step v)) / (2 step) for one input x; v has few entries that are not 0.
std::vector<double> central(const Trial& trial, Tensor x, const std::vector<double>& v) {
  const std::vector<double> at = x.to_vector<double>();
  const auto moved = [&](double by) {
    for (size_t k = 0; k < v.size(); ++k) x.mutable_data<double>()[k] = at[k] + by * v[k];
    return evaluate(trial);
  };
  std::vector<double> difference = moved(kStep);
  const std::vector<double> below = moved(-kStep);
  moved(0);
  for (size_t j = 0; j < below.size(); ++j)
    difference[j] = (difference[j] - below[j]) / (2 * kStep);
  return difference;
}

/// Sweeps dy over the function; empty for an input without a gradient.
std::vector<std::vector<double>> gradients(const Trial& trial,
                                           const std::function<void(Tensor&)>& fill_dy) {
  Tape tape;
  const Tensor y = trial.f(trial.inputs);
  Tensor dy = zeros(y.shape(), DType::f64);
  fill_dy(dy);
  std::vector<std::vector<double>> result;
  for (const Tensor& dx : tape.gradient(y, trial.inputs, {.dy = dy, .allow_unused = true}))
    result.push_back(dx ? dx.to_vector<double>() : std::vector<double>());
  return result;
}

bool zero_dy_gives_zero(const Trial& trial) {
  for (const auto& dx : gradients(trial, [](Tensor&) {}))
    for (double value : dx)
      if (value != 0) return false;
  return true;
}

std::vector<double> nonnegative_direction(int64_t n, Generator& generator) {
  std::vector<double> u(static_cast<size_t>(n));
  for (double& value : u) value = generator.uniform();
  const double norm = std::sqrt(std::inner_product(u.begin(), u.end(), u.begin(), 0.0));
  for (double& value : u) value /= norm;
  return u;
}

}  // namespace

std::vector<std::vector<double>> jacobians(const Trial& trial) {
  Tape tape;
  const Tensor y = trial.f(trial.inputs);
  std::vector<std::vector<double>> result(trial.inputs.size());
  for (int64_t j = 0; j < y.numel(); ++j) {
    Tensor dy = zeros(y.shape(), DType::f64);
    dy.mutable_data<double>()[j] = 1;
    const auto dx =
        tape.gradient(y, trial.inputs, {.keep_graph = true, .dy = dy, .allow_unused = true});
    for (size_t i = 0; i < result.size(); ++i) {
      const Tensor row = dx[i] ? dx[i] : zeros(trial.inputs[i].shape(), DType::f64);
      const std::vector<double> values = row.to_vector<double>();
      result[i].insert(result[i].end(), values.begin(), values.end());
    }
  }
  return result;
}

bool passes_slow_rule(const Trial& trial) {
  const std::vector<std::vector<double>> analytic = jacobians(trial);
  for (size_t i = 0; i < trial.inputs.size(); ++i) {
    const size_t n = static_cast<size_t>(trial.inputs[i].numel());
    for (size_t k = 0; k < n; ++k) {
      std::vector<double> unit(n);
      unit[k] = 1;
      const std::vector<double> numeric = central(trial, trial.inputs[i], unit);
      for (size_t j = 0; j < numeric.size(); ++j)
        if (!close(analytic[i][j * n + k], numeric[j], kAbsolute)) return false;
    }
  }
  return zero_dy_gives_zero(trial);
}

bool passes_fast_rule(const Trial& trial, uint64_t seed) {
  Generator generator(seed, "fast rule");
  std::vector<std::vector<double>> us;
  for (const Tensor& x : trial.inputs) us.push_back(nonnegative_direction(x.numel(), generator));
  const std::vector<double> v =
      nonnegative_direction(static_cast<int64_t>(evaluate(trial).size()), generator);
  const std::vector<std::vector<double>> dx = gradients(
      trial, [&](Tensor& dy) { std::copy(v.begin(), v.end(), dy.mutable_data<double>()); });
  const auto sum = [](const std::vector<double>& x) {
    return std::accumulate(x.begin(), x.end(), 0.0);
  };
  const auto inner = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  for (size_t i = 0; i < us.size(); ++i) {
    const double numeric = inner(v, central(trial, trial.inputs[i], us[i]));
    const double analytic = dx[i].empty() ? 0 : inner(dx[i], us[i]);
    if (!close(analytic, numeric, kAbsolute * sum(us[i]) * sum(v))) return false;
  }
  return zero_dy_gives_zero(trial);
}

}  // namespace gradus::mutations
