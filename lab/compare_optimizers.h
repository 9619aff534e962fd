#pragma once
#include <gradus/optim/optimizer.h>

#include <memory>
#include <span>
#include <string_view>

namespace gradus::lab {

/// An optimizer that `compare` can train with.
struct OptimizerRow {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(std::vector<Tensor> parameters, double lr);
};

std::span<const OptimizerRow> all_optimizers();
/// An error that lists the names if it is none of them.
const OptimizerRow& find_optimizer(std::string_view name);

}  // namespace gradus::lab
