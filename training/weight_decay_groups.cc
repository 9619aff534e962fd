#include <gradus/layers/norm.h>
#include <gradus/training/weight_decay_groups.h>

#include <algorithm>

namespace gradus {

std::vector<ParameterGroup> weight_decay_groups(Module& model, double weight_decay) {
  check(weight_decay >= 0, "weight_decay_groups: weight decay is {}, must not be negative",
        weight_decay);
  std::vector<Tensor> of_norms;
  for (const auto& [path, module] : model.named_modules())
    if (auto* norm = dynamic_cast<NormModule*>(module))
      for (Tensor& p : norm->parameters()) of_norms.push_back(std::move(p));
  ParameterGroup decayed{{}, {}, weight_decay}, others{{}, {}, 0};
  for (Tensor& p : model.parameters()) {
    if (!p.requires_grad()) continue;
    const bool of_norm =
        std::ranges::any_of(of_norms, [&](const Tensor& other) { return other.is(p); });
    (of_norm || p.ndim() < 2 ? others : decayed).parameters.push_back(std::move(p));
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&decayed, &others})
    if (!group->parameters.empty()) groups.push_back(std::move(*group));
  check(!groups.empty(), "weight_decay_groups: no parameter of {} needs a gradient",
        model.describe());
  return groups;
}

}  // namespace gradus
