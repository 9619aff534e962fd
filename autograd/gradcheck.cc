#include <gradus/autograd/gradcheck.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/sample.h>

#include <cmath>
#include <limits>
#include <optional>

namespace gradus {

namespace {

struct Estimate {
  double value, bound;
};

/// The derivative of g at 0: central differences with steps h, h/1.4, ... extrapolated to 0, and
/// how far the best two estimates are apart (Ridders 1982).
template <class G>
Estimate ridders(G g, double h) {
  constexpr int kLevels = 10;
  constexpr double kShrink = 1.4, kShrink2 = kShrink * kShrink;
  double table[kLevels][kLevels];
  Estimate best{0, std::numeric_limits<double>::infinity()};
  for (int i = 0; i < kLevels; ++i, h /= kShrink) {
    table[0][i] = (g(h) - g(-h)) / (2 * h);
    double factor = kShrink2;
    for (int j = 1; j <= i; ++j, factor *= kShrink2) {
      table[j][i] = (table[j - 1][i] * factor - table[j - 1][i - 1]) / (factor - 1);
      const double error = std::max(std::abs(table[j][i] - table[j - 1][i]),
                                    std::abs(table[j][i] - table[j - 1][i - 1]));
      if (error <= best.bound) best = {table[j][i], error};
    }
    if (i > 0 && std::abs(table[i][i] - table[i - 1][i - 1]) >= 2 * best.bound) break;
  }
  return best;
}

/// A fixed direction of about unit norm, without a constant part that a norm would not see.
Tensor direction(const Shape& shape, uint64_t seed) {
  const double scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, shape.numel())));
  return sample(shape, seed, -1.7 * scale, 1.7 * scale).set_requires_grad(false);
}

Tensor evaluate(const Function& f, std::span<const Tensor> x) {
  Tensor y = f(x);
  check(static_cast<bool>(y), "gradcheck: the function returned no tensor");
  check(y.dtype() == DType::f64, "gradcheck: the function returned {}, not f64", name(y.dtype()));
  check(all_finite(y), "gradcheck: the function's result {} is not finite at this point",
        y.shape());
  return y;
}

}  // namespace

std::string GradcheckReport::text() const {
  if (ok()) return fmt::format("{} entries agree, largest error {:.1e}", entries, largest_error);
  if (entries == 0) return "nothing was compared";
  return fmt::format(
      "{} of {} entries disagree; worst: input {}{}{} at {}: analytic {:.12g}, numeric {:.12g} +- "
      "{:.1e}",
      disagreeing, entries, worst.input, worst.name.empty() ? "" : " ", worst.name, worst.index,
      worst.analytic, worst.numeric, worst.bound);
}

GradcheckReport gradcheck(const Function& f, std::span<const Tensor> inputs,
                          const GradcheckOptions& options) {
  for (size_t i = 0; i < inputs.size(); ++i)
    check(inputs[i] && inputs[i].dtype() == DType::f64 && inputs[i].requires_grad() &&
              inputs[i].is_contiguous(),
          "gradcheck: input {} must be a contiguous f64 leaf that requires a gradient; cast it", i);
  Tensor u;
  std::vector<Tensor> analytic;
  {
    Tape tape;
    const Tensor y = evaluate(f, inputs);
    check(y.tape() == tape.serial(),
          "gradcheck: no path: the result {} does not depend on any input through recorded "
          "operations",
          y.shape());
    u = direction(y.shape(), options.seed);
    analytic = tape.gradient(y, inputs, {.dy = u, .allow_unused = true});
  }
  const NoRecord pause;
  GradcheckReport report;
  double worst_excess = -std::numeric_limits<double>::infinity();
  const auto weights = u.to_vector<double>();
  for (size_t i = 0; i < inputs.size(); ++i) {
    Tensor x = inputs[i];
    const Tensor dx = analytic[i] ? raw::contiguous(analytic[i]) : zeros_like(x);
    for (int64_t k = 0; k < x.numel(); ++k) {
      const double centre = x.data<double>()[k];
      const auto along = [&](double h) {
        x.mutable_data<double>()[k] = centre + h;
        double total = 0;
        const auto y = evaluate(f, inputs).to_vector<double>();
        for (size_t j = 0; j < y.size(); ++j) total += y[j] * weights[j];
        return total;
      };
      Estimate numeric{};
      try {
        numeric = ridders(along, options.step * std::max(1.0, std::abs(centre)));
      } catch (...) {
        x.mutable_data<double>()[k] = centre;
        throw;
      }
      x.mutable_data<double>()[k] = centre;
      const double a = dx.data<double>()[k], n = numeric.value;
      const double size = std::max(std::abs(a), std::abs(n)), error = std::abs(a - n);
      const double tolerance = options.atol + options.rtol * size + 10 * numeric.bound;
      ++report.entries;
      if (!(error <= tolerance)) ++report.disagreeing;
      report.largest_error = std::max(report.largest_error, error / std::max(1.0, size));
      const double excess =
          std::isfinite(error) ? error - tolerance : std::numeric_limits<double>::infinity();
      if (excess > worst_excess) {
        worst_excess = excess;
        report.worst = {static_cast<int>(i), x.name(), unravel(k, x.shape()), a, n, numeric.bound};
      }
    }
  }
  return report;
}

GradcheckReport gradgradcheck(const Function& f, std::span<const Tensor> inputs,
                              const GradcheckOptions& options) {
  const Shape shape = [&] {
    const NoRecord pause;
    return evaluate(f, inputs).shape();
  }();
  std::vector<Tensor> all(inputs.begin(), inputs.end());
  all.push_back(sample(shape, options.seed + 1, -1, 1));
  const auto gradient_of_f = [&](std::span<const Tensor> x) {
    // On the caller's tape if there is one, so that it can be differentiated; else on its own.
    std::optional<Tape> own;
    Tape* tape = detail::recorder ? detail::recorder : &own.emplace();
    const std::span<const Tensor> in = x.first(inputs.size());
    const std::vector<Tensor> dx = tape->gradient(
        f(in), in, {.create_graph = CreateGraph::yes, .dy = x.back(), .allow_unused = true});
    Tensor total;
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i]) continue;
      const Tensor term = sum(dx[i] * direction(dx[i].shape(), options.seed + 2 + i));
      total = total ? total + term : term;
    }
    return total;
  };
  return gradcheck(gradient_of_f, all, options);
}

}  // namespace gradus
