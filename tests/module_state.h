#pragma once
#include <fmt/format.h>
#include <gradus/layers/module.h>

#include <string>

namespace gradus::test {

/// Names, shapes, dtypes and elements: equal for equal states.
inline std::string print(Module& module) {
  std::string text;
  for (const auto& [path, tensor] : module.state())
    text += fmt::format("{} {} {:.17}\n", path, tensor.shape(), tensor);
  return text;
}

}  // namespace gradus::test
