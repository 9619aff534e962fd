#pragma once
#include <gradus/layers/module.h>
#include <gradus/optim/optimizer.h>

#include <vector>

namespace gradus {

/// Two groups for an optimizer of `model`: the weights, with this weight decay, and what is better
/// without one, parameters of fewer than two axes, as biases are, and those of norms (Goyal et al.
/// 2017, section 5.3). Frozen parameters, which need no gradient, are in neither, and no group is
/// empty. Errors: a weight decay that is negative, a model of which nothing is trained.
///
///     AdamW optimizer(weight_decay_groups(model, 0.1), {.lr = 3e-4});
std::vector<ParameterGroup> weight_decay_groups(Module& model, double weight_decay);

}  // namespace gradus
