#include <gradus/gradcheck/detail/judge.h>
#include <gradus/gradcheck/detail/warnings.h>

#include <algorithm>

namespace gradus::checking {

namespace {

using namespace std::string_view_literals;

bool is_square(const Shape& shape) {
  return shape.ndim() > 1 && shape[shape.ndim() - 1] > 1 &&
         shape[shape.ndim() - 1] == shape[shape.ndim() - 2];
}

/// The op behind views and multiplications by numbers whose result is summed up whole at `node`;
/// empty if `node` is no such sum.
std::string_view summed_op(const Tape& tape, const NodeInfo& node) {
  if (node.op != "sum"sv || node.shape.numel() != 1) return {};
  NodeInfo from = node;
  do {
    if (from.inputs.empty() || from.inputs[0] < 0) return {};
    from = tape.info(static_cast<uint32_t>(from.inputs[0]));
  } while (from.op == "reshape"sv || from.op == "transpose"sv || from.op == "permute"sv ||
           from.op == "mul_scalar"sv || from.op == "add_scalar"sv);
  return from.op;
}

}  // namespace

std::vector<std::string> setup_warnings(std::span<const Tensor> inputs, const Tape& tape) {
  std::vector<std::string> warnings;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& x = inputs[i];
    const std::string name = input_name(x, i);
    if (x.dtype() == DType::f32)
      warnings.push_back(name + " is f32: rounding hides errors below about 1e-3; cast it to f64");
    if (is_square(x.shape()))
      warnings.push_back(
          fmt::format("{} {} is square: a wrong axis or a missing transposition may "
                      "not show",
                      name, x.shape()));
    const std::vector<double> values = x.to_vector<double>();
    if (values.size() > 1 &&
        std::all_of(values.begin(), values.end(), [](double v) { return v == 1; }))
      warnings.push_back(name + " is all ones: a factor that is left out does not show");
  }
  for (uint32_t n = 0; n < tape.size(); ++n) {
    const NodeInfo node = tape.info(n);
    if (node.op == "batch_norm"sv && node.output == 0 && node.kept.size() > 1 &&
        node.shape.numel() == 2 * node.kept[1].numel())
      warnings.push_back(
          fmt::format("batch_norm {} has two values a channel: its Jacobian is nearly "
                      "0; use three or more",
                      node.shape));
    const std::string_view op = summed_op(tape, node);
    if (op == "batch_norm" || op == "layer_norm")
      warnings.push_back(
          fmt::format("a plain sum behind {}: what it passes on is nearly 0 whatever "
                      "its backward does; square it first",
                      op));
  }
  return warnings;
}

}  // namespace gradus::checking
