#include <fmt/format.h>
#include <gradus/gradcheck/detail/checker.h>
#include <gradus/gradcheck/oracles.h>
#include <gradus/tensor/safetensors.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradus {

using namespace checking;

namespace {

std::vector<JacobianBlock> whole_blocks(const Checker& checker, size_t inputs, size_t rows) {
  std::vector<JacobianBlock> blocks;
  for (size_t i = 0; i < inputs; ++i) blocks.push_back(checker.whole_block(i, rows));
  return blocks;
}

/// What is allowed is said by the caller here, however wide, so that nothing is unresolved.
GradcheckOptions oracle_options(GradcheckOptions options, std::string how) {
  options.resolution = std::numeric_limits<double>::infinity();
  if (options.reproduce.empty()) options.reproduce = std::move(how);
  return options;
}

}  // namespace

GradcheckReport gradcheck_against(const JacobianColumn& exact, const Function& f,
                                  std::span<const Tensor> inputs, double accuracy,
                                  const GradcheckOptions& options) {
  check_inputs(inputs);
  const GradcheckOptions o =
      oracle_options(options, fmt::format("gradcheck_against(exact, f, inputs, {}, {{.seed = {}}})",
                                          accuracy, options.seed));
  Checker checker(f, inputs, o, 1);
  if (!checker.look_at_the_function()) return checker.finish();
  const JacobianRowSet rows = checker.all_rows();
  std::vector<JacobianBlock> blocks = whole_blocks(checker, inputs.size(), rows.size());
  checker.fill_analytic(rows, blocks);
  std::vector<double> values(rows.size());
  for (JacobianBlock& block : blocks) {
    for (size_t c = 0; c < block.columns; ++c) {
      const std::vector<double> column = exact(block.input, block.entries[c]);
      check(static_cast<int64_t>(column.size()) == checker.y().numel(),
            "gradcheck_against: {} derivatives by entry {} of {}, but the result has {} elements",
            column.size(), block.entries[c], input_name(inputs[block.input], block.input),
            checker.y().numel());
      rows.apply(column, values);
      for (size_t r = 0; r < rows.size(); ++r) block.numeric[r * block.columns + c] = values[r];
    }
    block.allow(accuracy * largest_of(block.numeric) / o.safety);
  }
  return checker.compare(rows, std::move(blocks), "full Jacobian against given derivatives");
}

GradcheckReport gradcheck_file(const std::string& path, const std::vector<std::string>& names,
                               const Function& f, double accuracy,
                               const GradcheckOptions& options) {
  const auto tensors = load_safetensors(path);
  const auto find = [&](const std::string& name) {
    for (const auto& [known, tensor] : tensors)
      if (known == name) return tensor;
    return Tensor();
  };
  const auto need = [&](const std::string& name) {
    Tensor tensor = find(name);
    check(static_cast<bool>(tensor), "gradcheck_file: {} has no tensor \"{}\"", path, name);
    return tensor;
  };
  std::vector<Tensor> inputs;
  for (const std::string& name : names)
    inputs.push_back(need(name).set_requires_grad().set_name(name));
  check_inputs(inputs);
  const GradcheckOptions o =
      oracle_options(options, fmt::format("gradcheck_file(\"{}\", {{\"{}\"}}, f, {})", path,
                                          fmt::join(names, "\", \""), accuracy));
  Checker checker(f, inputs, o, 1);
  if (!checker.look_at_the_function()) return checker.finish();
  const Tensor dy = need("dy"), y = find("y");
  check(dy.shape() == checker.y().shape(), "gradcheck_file: dy is {}, but the function's result {}",
        dy.shape(), checker.y().shape());
  if (y) {
    check(y.shape() == checker.y().shape(), "gradcheck_file: y is {}, but the function's result {}",
          y.shape(), checker.y().shape());
    const std::string difference =
        describe_difference(checker.y(), y, accuracy * largest_of(y.to_vector<double>()));
    if (!difference.empty())
      checker.add_fault("the function's result is not the file's y: " + difference);
  }
  const JacobianRowSet rows{dy.shape(), {}, {dy.to_vector<double>()}};
  std::vector<JacobianBlock> blocks = whole_blocks(checker, inputs.size(), 1);
  checker.fill_analytic(rows, blocks);
  for (JacobianBlock& block : blocks) {
    const Tensor dx = need(names[block.input] + ".grad");
    check(dx.shape() == inputs[block.input].shape(), "gradcheck_file: {}.grad is {}, but {} {}",
          names[block.input], dx.shape(), names[block.input], inputs[block.input].shape());
    block.numeric = dx.to_vector<double>();
    block.allow(accuracy * largest_of(block.numeric) / o.safety);
  }
  return checker.compare(rows, std::move(blocks), "gradients against those of " + path);
}

GradcheckReport gradcheck_f32(const Function& f, std::span<const Tensor> inputs, double ulps,
                              const GradcheckOptions& options) {
  check_inputs(inputs);
  const GradcheckOptions o = oracle_options(
      options, fmt::format("gradcheck_f32(f, inputs, {}, {{.seed = {}}})", ulps, options.seed));
  std::vector<Tensor> narrow, wide;
  for (size_t i = 0; i < inputs.size(); ++i) {
    narrow.push_back(raw::clone(raw::cast(inputs[i], DType::f32)).set_requires_grad());
    wide.push_back(raw::cast(narrow[i], DType::f64).set_requires_grad());
    narrow[i].set_name(inputs[i].name());
  }
  Checker checker(f, narrow, o, 1), exact(f, wide, o, 1);
  if (!checker.look_at_the_function() || !exact.look_at_the_function()) return checker.finish();
  check(checker.y().dtype() == DType::f32 && exact.y().dtype() == DType::f64,
        "gradcheck_f32: the function gives {} for f32 and {} for f64 inputs",
        name(checker.y().dtype()), name(exact.y().dtype()));
  JacobianRowSet rows = checker.random_rows();
  for (std::vector<double>& weights : rows.weights)
    for (double& weight : weights) weight = static_cast<float>(weight);
  std::vector<JacobianBlock> blocks = whole_blocks(checker, inputs.size(), rows.size()),
                             reference = blocks;
  checker.fill_analytic(rows, blocks);
  exact.fill_analytic(rows, reference);
  double furthest = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    JacobianBlock& block = blocks[i];
    block.numeric = std::move(reference[i].analytic);
    block.allow(0);
    const double typical = rms(block.numeric);
    for (size_t at = 0; at < block.numeric.size(); ++at) {
      const double ulp = 0x1p-23 * std::max(std::abs(block.numeric[at]), typical);
      block.bound[at] = ulps * ulp / o.safety;
      if (ulp > 0)
        furthest = std::max(furthest, std::abs(block.analytic[at] - block.numeric[at]) / ulp);
    }
  }
  return checker.compare(
      rows, std::move(blocks),
      fmt::format("gradients in f32 against f64: {:.3g} ulps apart, {} allowed", furthest, ulps));
}

namespace {

/// The slope by which remainders fall with h, from the last four that rounding does not spoil; 2 if
/// there are too few: f is linear as far as one can see.
double remainder_slope(std::span<const double> steps, std::span<const double> remainders,
                       double rounding) {
  size_t count = 0;
  while (count < steps.size() && remainders[count] > 30 * rounding) ++count;
  if (count < 3) return 2;
  const size_t last = count - 1, first = count - std::min<size_t>(4, count);
  return std::log(remainders[first] / remainders[last]) / std::log(steps[first] / steps[last]);
}

}  // namespace

GradcheckReport gradcheck_taylor(const Function& f, std::span<const Tensor> inputs,
                                 const GradcheckOptions& options) {
  check_inputs(inputs);
  const GradcheckOptions o = oracle_options(
      options, fmt::format("gradcheck_taylor(f, inputs, {{.seed = {}}})", options.seed));
  Checker checker(f, inputs, o, 1);
  if (!checker.look_at_the_function()) return checker.finish();
  JacobianRowSet rows = checker.random_rows();
  rows.weights.resize(1);
  const std::vector<double> y0 = checker.y().to_vector<double>();
  double at_0 = 0, size = 0;
  rows.apply(y0, std::span(&at_0, 1));
  for (size_t j = 0; j < y0.size(); ++j) size += std::abs(rows.weights[0][j] * y0[j]);
  const double epsilon = inputs[0].dtype() == DType::f32 ? 0x1p-23 : 0x1p-52;
  std::vector<JacobianBlock> blocks;
  Checker::Directions directions;
  Generator generator(o.seed, "taylor");
  for (size_t i = 0; i < inputs.size(); ++i) {
    blocks.emplace_back();
    blocks[i].input = i;
    blocks[i].resize(1, 1);
    directions.push_back({random_direction(inputs[i].numel(), generator)});
  }
  checker.fill_analytic(rows, blocks, &directions);
  std::string slopes;
  std::vector<double> y;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double slope = blocks[i].analytic[0];
    std::vector<double> steps, remainders;
    Perturbation moved(inputs[i]);
    for (int k = 3; k <= 20; ++k) {
      const double h = std::exp2(-k);
      moved.along(directions[i][0], h);
      if (!checker.evaluate().values(y)) continue;
      double there = 0;
      rows.apply(y, std::span(&there, 1));
      steps.push_back(h);
      remainders.push_back(std::abs(there - at_0 - h * slope));
    }
    const double fall = remainder_slope(steps, remainders, epsilon * size);
    slopes +=
        fmt::format("{}{:.2f} ({})", slopes.empty() ? "" : ", ", fall, input_name(inputs[i], i));
    blocks[i].analytic[0] = fall;
    blocks[i].allow(0.1 / o.safety);
    blocks[i].numeric[0] = std::max(2.0, fall);
  }
  return checker.compare(rows, std::move(blocks),
                         "Taylor remainders fall as h to the power " + slopes + "; 2 is right");
}

}  // namespace gradus
