#include <fmt/format.h>
#include <gradus/autograd/tape_print.h>

#include <iterator>
#include <nlohmann/json.hpp>

namespace gradus {

namespace {

/// "mul", "unbind.2" for a later output, "leaf weight" for a leaf with a name.
std::string title(const NodeInfo& node) {
  std::string text = node.op;
  if (node.output > 0) text += fmt::format(".{}", node.output);
  if (!node.name.empty()) text += " " + node.name;
  return text;
}

std::string inputs_of(const NodeInfo& node) {
  std::string text;
  for (int64_t input : node.inputs) {
    if (!text.empty()) text += ", ";
    text += input < 0 ? "-" : fmt::format("{}", input);
  }
  return text;
}

}  // namespace

std::string listing(const Tape& tape) {
  std::string text = fmt::format("{:>5}  {:<28} {:<12} {:<20} {:<8} kept\n", "node", "op", "inputs",
                                 "shape", "gradient");
  for (uint32_t i = 0; i < tape.size(); ++i) {
    const NodeInfo node = tape.info(i);
    std::string kept;
    for (const Shape& shape : node.kept) kept += fmt::format("{} ", shape);
    if (!kept.empty()) kept += fmt::format("= {} bytes", node.kept_bytes);
    std::string line = fmt::format("{:>5}  {:<28} {:<12} {:<20} {:<8} {}", i, title(node),
                                   inputs_of(node), fmt::format("{} {}", node.shape, node.dtype),
                                   node.reached ? "yes" : "no", kept);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text + fmt::format("{} nodes, {} bytes kept\n", tape.size(), tape.kept_bytes());
}

std::string to_dot(const Tape& tape) {
  std::string text = "digraph tape {\n  node [shape=box];\n";
  auto out = std::back_inserter(text);
  for (uint32_t i = 0; i < tape.size(); ++i) {
    const NodeInfo node = tape.info(i);
    std::string label;  // a user's name may hold what ends a string in DOT
    for (char c : fmt::format("{} {}", title(node), node.shape)) {
      if (c == '"' || c == '\\') label += '\\';
      label += c;
    }
    if (node.kept_bytes > 0) label += fmt::format("\\nkeeps {} bytes", node.kept_bytes);
    fmt::format_to(out, "  n{} [label=\"{}: {}\"{}];\n", i, i, label,
                   std::string_view(node.op) == "leaf" ? ", style=filled" : "");
    for (int64_t input : node.inputs) {
      if (input >= 0) fmt::format_to(out, "  n{} -> n{};\n", input, i);
    }
    if (node.output > 0) fmt::format_to(out, "  n{} -> n{} [style=dotted];\n", i - node.output, i);
  }
  return text + "}\n";
}

std::string to_json(const Tape& tape) {
  nlohmann::json nodes = nlohmann::json::array();
  const auto sizes = [](const Shape& shape) {
    return std::vector<int64_t>(shape.begin(), shape.end());
  };
  for (uint32_t i = 0; i < tape.size(); ++i) {
    const NodeInfo node = tape.info(i);
    nlohmann::json inputs = nlohmann::json::array(), kept = nlohmann::json::array();
    for (int64_t input : node.inputs)
      inputs.push_back(input < 0 ? nlohmann::json() : nlohmann::json(input));
    for (const Shape& shape : node.kept) kept.push_back(sizes(shape));
    nodes.push_back({{"index", i},
                     {"op", node.op},
                     {"output", node.output},
                     {"name", node.name},
                     {"shape", sizes(node.shape)},
                     {"dtype", name(node.dtype)},
                     {"inputs", inputs},
                     {"kept", kept},
                     {"kept_bytes", node.kept_bytes},
                     {"reached", node.reached}});
  }
  return nlohmann::json{{"kept_bytes", tape.kept_bytes()}, {"nodes", nodes}}.dump(1);
}

}  // namespace gradus
