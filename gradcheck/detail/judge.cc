#include <gradus/gradcheck/detail/judge.h>

#include <algorithm>
#include <cmath>

namespace gradus::checking {

double rms(std::span<const double> values) {
  double square = 0;
  for (double value : values) square += value * value;
  return values.empty() ? 0 : std::sqrt(square / static_cast<double>(values.size()));
}

double largest_of(std::span<const double> values) {
  double result = 0;
  for (double value : values) result = std::max(result, std::abs(value));
  return result;
}

std::vector<int64_t> JacobianRowSet::outputs() const {
  std::vector<int64_t> result = elements;
  result.resize(size(), -1);
  return result;
}

Tensor JacobianRowSet::dy(size_t row, DType dtype) const {
  Tensor dy = zeros(output, DType::f64);
  double* values = dy.mutable_data<double>();
  if (row < elements.size())
    values[elements[row]] = 1;
  else
    std::copy_n(weights[row - elements.size()].data(), dy.numel(), values);
  return dtype == DType::f64 ? dy : raw::cast(dy, dtype);
}

void JacobianRowSet::apply(std::span<const double> y, std::span<double> values) const {
  size_t r = 0;
  for (int64_t element : elements) values[r++] = y[static_cast<size_t>(element)];
  for (const std::vector<double>& w : weights) {
    double sum = 0,
           lost = 0;  // Kahan's: the rounding of millions of terms would hide the derivative
    for (size_t j = 0; j < y.size(); ++j) {
      const double term = w[j] * y[j] - lost, next = sum + term;
      lost = (next - sum) - term;
      sum = next;
    }
    values[r++] = sum;
  }
}

void JacobianBlock::resize(size_t rows, size_t count) {
  columns = count;
  analytic.assign(rows * count, 0);
  numeric.assign(rows * count, 0);
  bound.assign(rows * count, 0);
  kink.assign(rows * count, 0);
  noise.assign(count, 0);
}

void JacobianBlock::allow(double difference) {
  std::fill(bound.begin(), bound.end(), difference);
  std::fill(noise.begin(), noise.end(), 0);
}

std::string input_name(const Tensor& input, size_t i) {
  return input.name().empty() ? fmt::format("input {}", i) : input.name();
}

GradcheckInput judge(const JacobianBlock& block, const JacobianRowSet& rows, const Tensor& input,
                     const JudgeScale& scale) {
  const size_t columns = block.columns, count = rows.size();
  GradcheckInput result;
  result.input = static_cast<int>(block.input);
  result.name = input_name(input, block.input);
  result.shape = input.shape();
  const double largest_of_all = largest_of(block.numeric);
  const double zero_size = std::max(scale.zero_size, rms(block.numeric));
  std::vector<double> typical(columns);  // rms of an entry's derivatives
  for (size_t at = 0; at < block.numeric.size(); ++at)
    typical[at % columns] += block.numeric[at] * block.numeric[at] / static_cast<double>(count);
  for (double& value : typical) value = std::sqrt(value);
  std::vector<Verdict> verdicts(columns, Verdict::agrees);
  std::vector<double> tolerances(block.analytic.size());
  double worst_excess = -kInfinity;
  for (size_t r = 0; r < count; ++r) {
    const double largest = largest_of(std::span(block.numeric).subspan(r * columns, columns));
    // An element's part of a weighted sum is about 1 / sqrt(elements) of it.
    const double part = r < rows.elements.size() ? std::sqrt(double(rows.output.numel())) : 1;
    for (size_t c = 0; c < columns; ++c) {
      const size_t at = r * columns + c;
      const double a = block.analytic[at], n = block.numeric[at];
      const double error = std::abs(a - n), size = std::max(std::abs(a), std::abs(n));
      const double rounding = part * block.noise[c];
      const double resolved =
          scale.resolution * std::max({size, typical[c], std::abs(a) <= rounding ? zero_size : 0});
      // An analytic side that rounding moves by more than is to be resolved is not excused by that:
      // a variance in one pass, say.
      const double tolerance = scale.tolerance(block.bound[at], largest) +
                               std::min(rounding, resolved) + 1e-13 * largest_of_all;
      const bool wide = tolerance > resolved;
      const Verdict verdict = !std::isfinite(a)       ? Verdict::disagrees
                              : block.kink[at]        ? Verdict::kink
                              : !(error <= tolerance) ? Verdict::disagrees
                              : wide                  ? Verdict::unresolved
                                                      : Verdict::agrees;
      tolerances[at] =
          verdict == Verdict::kink || verdict == Verdict::unresolved ? kInfinity : tolerance;
      // The worst of its rows counts: disagrees, kink, unresolved, agrees.
      const auto weight = [](Verdict v) {
        return v == Verdict::disagrees ? 3 : v == Verdict::kink ? 2 : v == Verdict::unresolved;
      };
      if (weight(verdict) > weight(verdicts[c])) verdicts[c] = verdict;
      if (verdict == Verdict::kink) continue;
      result.largest_error = std::max(
          result.largest_error, std::isfinite(error) ? error / std::max(1.0, size) : kInfinity);
      const double excess = std::isfinite(error) ? error - tolerance : kInfinity;
      if (!(excess > worst_excess)) continue;
      worst_excess = excess;
      result.worst = {result.input, input.name(), {}, {}, a, n, block.bound[at]};
      if (!block.entries.empty()) result.worst.index = unravel(block.entries[c], input.shape());
      if (r < rows.elements.size()) result.worst.output = unravel(rows.elements[r], rows.output);
    }
  }
  for (size_t c = 0; c < columns; ++c) {
    switch (verdicts[c]) {
      case Verdict::agrees:
        ++result.counts.agree;
        break;
      case Verdict::unresolved:
        ++result.counts.unresolved;
        break;
      case Verdict::kink:
        ++result.counts.kink;
        break;
      case Verdict::disagrees:
        ++result.counts.disagree;
        if (!block.entries.empty()) result.wrong.push_back(block.entries[c]);
    }
  }
  if (result.counts.disagree == 0 || block.entries.empty()) return result;
  const bool whole = static_cast<int64_t>(columns) == input.numel();
  if (whole)
    result.where = fmt::format("{}; {} of {}", describe_entries(input.shape(), result.wrong),
                               result.wrong.size(), input.numel());
  const std::vector<double> x = whole ? input.to_vector<double>() : std::vector<double>();
  result.diagnosis =
      diagnose({whole ? input.shape() : Shape{static_cast<int64_t>(columns)}, rows.output,
                rows.outputs(), block.analytic, block.numeric, tolerances, x});
  return result;
}

void find_swapped_inputs(std::span<const JacobianBlock> blocks, size_t rows,
                         std::span<const Tensor> inputs, std::span<GradcheckInput> found) {
  const auto is_gradient_of = [&](const JacobianBlock& one, const JacobianBlock& other) {
    const Tensor &x = inputs[one.input], &y = inputs[other.input];
    if (one.input == other.input || x.shape() != y.shape() || one.columns == 0) return false;
    for (size_t at = 0; at < rows * one.columns; ++at)
      if (!(std::abs(one.analytic[at] - other.numeric[at]) <=
            1e-9 * std::abs(other.numeric[at]) + 10 * other.bound[at]))
        return false;
    return true;
  };
  for (size_t i = 0; i < blocks.size(); ++i) {
    Diagnosis& diagnosis = found[i].diagnosis;
    const bool open =
        diagnosis.pattern == Pattern::none || diagnosis.pattern == Pattern::factor_per_group;
    if (found[i].counts.disagree == 0 || !open) continue;
    for (const JacobianBlock& other : blocks)
      if (is_gradient_of(blocks[i], other))
        diagnosis = {Pattern::swapped_inputs,
                     "the gradient of " + input_name(inputs[other.input], other.input)};
  }
}

void total_up(GradcheckReport& report) {
  report.entries = report.agreeing = report.disagreeing = report.unresolved = report.kinks = 0;
  report.largest_error = 0;
  const GradcheckInput* worst = nullptr;
  const auto excess = [](const GradcheckInput& in) {
    const double e = std::abs(in.worst.analytic - in.worst.numeric) /
                     std::max({std::abs(in.worst.analytic), std::abs(in.worst.numeric), 1e-300});
    return (in.counts.disagree > 0 ? 10 : 0) + (std::isfinite(e) ? e : 10);
  };
  for (const GradcheckInput& in : report.inputs) {
    report.entries += in.counts.total();
    report.agreeing += in.counts.agree;
    report.disagreeing += in.counts.disagree;
    report.unresolved += in.counts.unresolved;
    report.kinks += in.counts.kink;
    report.largest_error = std::max(report.largest_error, in.largest_error);
    if (in.worst.input >= 0 && (!worst || excess(in) > excess(*worst))) worst = &in;
  }
  if (worst) report.worst = worst->worst;
}

}  // namespace gradus::checking
