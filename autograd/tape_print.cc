#include <fmt/format.h>
#include <gradus/autograd/tape_print.h>
#include <gradus/base/detail/json.h>

#include <iterator>

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
  using detail::json, detail::JsonList;
  std::string nodes;
  for (uint32_t i = 0; i < tape.size(); ++i) {
    const NodeInfo node = tape.info(i);
    JsonList inputs('[');
    for (int64_t input : node.inputs) inputs.add(input < 0 ? "null" : json(input));
    nodes += i == 0 ? "\n  " : ",\n  ";
    nodes += JsonList('{')
                 .add("index", i)
                 .add("op", node.op)
                 .add("output", node.output)
                 .add("name", node.name)
                 .add("shape", node.shape)
                 .add("dtype", name(node.dtype))
                 .add("inputs", inputs)
                 .add("kept", node.kept)
                 .add("kept_bytes", node.kept_bytes)
                 .add("reached", node.reached)
                 .text();
  }
  return fmt::format("{{\"kept_bytes\": {}, \"nodes\": [{}]}}\n", tape.kept_bytes(), nodes);
}

}  // namespace gradus
